/*
 * conf_file_fixture: a configuration as text, and files that it may name, in a
 * scratch folder with a CA's certificate in it.
 */
#ifndef RMS_TEST_CONF_FILE_FIXTURE_H
#define RMS_TEST_CONF_FILE_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_file.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

static struct conf c;
static struct conf_errors e;
static char dir[] = "/tmp/test_conf_file.XXXXXX";

static inline int
parse(const char *text)
{
	return conf_file_parse("x.conf", text, &c, &e);
}

/* The text is refused, and these are its errors, in order, each a part of the
 * message from its start. */
static inline void
refused(const char *text, size_t n, const char *const *want)
{
	if (parse(text) != -EINVAL)
		fail_msg("taken: %s", text);
	for (size_t i = 0; i < MIN(n, e.n); i++)
		if (strncmp(e.text[i], want[i], strlen(want[i])) != 0)
			fail_msg("got \"%s\", want \"%s\"", e.text[i], want[i]);
	if (e.n != n)
		fail_msg("%zu errors, want %zu: %s", e.n, n, e.text[0]);
}
#define REFUSED(text, ...)                                                    \
	refused(text, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
		(const char *[]){__VA_ARGS__})

static inline const char *
path_of(const char *name)
{
	static char path[8][256];
	static unsigned turn;
	char *p = path[turn++ % 8];

	snprintf(p, 256, "%s/%s", dir, name);
	return p;
}

static inline const char *
write_file(const char *name, const void *data, size_t len, mode_t mode)
{
	const char *path = path_of(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, data, len), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	fd_close(&fd);
	return path;
}

static inline EVP_PKEY *
make_pair(const char *cert, const char *key, long valid_s, EVP_PKEY *with)
{
	EVP_PKEY *k = with != NULL ? with : EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f;

	X509_gmtime_adj(X509_getm_notBefore(x), -100000);
	X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
	X509_set_pubkey(x, k);
	assert_true(X509_sign(x, k, EVP_sha256()) > 0);
	f = fopen(cert, "w");
	assert_int_equal(PEM_write_X509(f, x), 1);
	fclose(f);
	X509_free(x);
	if (key != NULL) {
		f = fopen(key, "w");
		assert_int_equal(
		    PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL), 1);
		fclose(f);
		assert_int_equal(chmod(key, 0600), 0);
	}
	return k;
}

static inline int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	EVP_PKEY_free(make_pair(path_of("ca.pem"), NULL, 1000, NULL));
	return 0;
}

static inline int
teardown(void **state)
{
	static const char *const made[] = {
	    "c",	 "nul",	  "fifo",   "check.conf", "ca.pem",
	    "a.crt",	 "a.key", "kt",	    "leaf.crt",	  "issuer.crt",
	    "chain.crt", "b.pem", "one.crt"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(made); i++)
		unlink(path_of(made[i]));
	return rmdir(dir);
}

#endif
