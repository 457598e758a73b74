/*
 * rms-connector.conf and the files that it names: what is refused, what is
 * warned of.
 */
#include "conf/conf_keytab.h"
#include "tests/unit/conf/conf_file_fixture.h"

/* A keytab of one entry, HTTP/a@R, kvno 3, AES-256. */
static const uint8_t one_key[] = {
    5, 2, 0,   0, 0, 59, 0, 2, 0, 1, 'R', 0, 4, 'H', 'T', 'T', 'P',
    0, 1, 'a', 0, 0, 0,	 1, 0, 0, 0, 0,	  3, 0, 18,  0,	  32,  1,
    1, 1, 1,   1, 1, 1,	 1, 1, 1, 1, 1,	  1, 1, 1,   1,	  1,   1,
    1, 1, 1,   1, 1, 1,	 1, 1, 1, 1, 1,	  1, 1, 1};

/* A configuration that passes; `more` is added to it. */
static int
check_with(const char *more)
{
	char text[4096];
	const char *path;

	snprintf(text, sizeof(text),
		 "state_dir = %s/state\ncontrol_socket = %s/sock\n"
		 "sealing_key_file = %s/sealing\ncloud_ca_file = %s/ca.pem\n"
		 "%s",
		 dir, dir, dir, dir, more);
	path = write_file("check.conf", text, strlen(text), 0644);
	assert_int_equal(conf_file_load(path, &c, &e), 0);
	return conf_file_check(path, &c, &e);
}

static void
check_refused(const char *more, const char *want)
{
	assert_int_equal(check_with(more), -EINVAL);
	if (e.n != 1 || strstr(e.text[0], want) == NULL)
		fail_msg("%zu errors, got \"%s\", want \"%s\"", e.n, e.text[0],
			 want);
}

static void
check_warned(const char *more, const char *want)
{
	assert_int_equal(check_with(more), 0);
	if (e.nwarn != 1 || strstr(e.warn[0], want) == NULL)
		fail_msg("%zu warnings, got \"%s\", want \"%s\"", e.nwarn,
			 e.warn[0], want);
}

/* The certificates of these files, one behind the other. */
static void
join(const char *to, size_t n, const char *const *from)
{
	FILE *out = fopen(to, "w"), *in;
	int ch;

	for (size_t i = 0; i < n; i++) {
		in = fopen(from[i], "r");
		while ((ch = fgetc(in)) != EOF)
			fputc(ch, out);
		fclose(in);
	}
	fclose(out);
}

#define HTTP "listener h { port = 8080 }\n"

static void
test_check_node(void **state)
{
	(void)state;
	assert_int_equal(check_with(HTTP), 0);
	assert_int_equal(e.n, 0);
	check_refused("", "check.conf: no listener, ");
	check_refused(
	    HTTP "listener i { port = 8080 }\n",
	    "check.conf:6: listener i: port: 8080 on 0.0.0.0 is listener h's "
	    "already");
	assert_int_equal(
	    check_with(HTTP "listener i { port = 8080 address = ::1 }\n"), 0);
	check_refused("listener a { address = ::1 }\n"
		      "listener b { address = 0:0:0:0:0:0:0:1 }\n",
		      ":6: listener b: port: 80 on ");
	check_refused(HTTP "user = no-such-user\n",
		      ":6: user = no-such-user: ");
	check_refused(HTTP "control_group = no-such-group\n",
		      ":6: control_group = no-such-group: ");
	check_refused(HTTP "krb5_config = /nonexistent/krb5.conf\n",
		      ":6: krb5_config = /nonexistent/krb5.conf: no such file");
	check_refused(
	    HTTP "event_log = /nonexistent/log\n",
	    ":6: event_log = /nonexistent/log: cannot be made or written");
	check_refused(
	    HTTP "libexec_dir = /nonexistent\n",
	    ":6: libexec_dir = /nonexistent: no rms-relay to run in it");
	check_refused(HTTP "dns_ttl_min_ms = 10m\n",
		      ":6: dns_ttl_min_ms: more");
	write_file("sealing", "short", 5, 0600);
	check_refused(HTTP, ":3: sealing_key_file");
	write_file("sealing", "0123456789abcdef0123456789abcdef", 32, 0640);
	check_refused(HTTP, "group or others may reach it");
	write_file("sealing", "0123456789abcdef0123456789abcdef", 32, 0400);
	assert_int_equal(check_with(HTTP), 0);
	unlink(path_of("sealing"));
}

/* What a line could be lost in, or would stop the writer. */
static void
test_check_logs(void **state)
{
	static const char *const name[] = {"event_log", "access_log"};
	char text[400], want[200], fifo[64];

	(void)state;
	snprintf(fifo, sizeof(fifo), "%s/log-fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		snprintf(text, sizeof(text), HTTP "%s = /dev/full\n", name[i]);
		snprintf(want, sizeof(want),
			 ":6: %s = /dev/full: a device, lines would be lost, "
			 "name a regular file",
			 name[i]);
		check_refused(text, want);
		snprintf(text, sizeof(text), HTTP "%s = /dev/null\n", name[i]);
		check_refused(text, "a device");
		snprintf(text, sizeof(text), HTTP "%s = %s\n", name[i], fifo);
		check_refused(text, "a FIFO or socket, ");
		snprintf(text, sizeof(text), HTTP "%s = %s\n", name[i], dir);
		check_refused(text, "Is a directory, name a regular file");
		/* a program that runs: not even root can write it */
		snprintf(text, sizeof(text), HTTP "%s = /proc/self/exe\n",
			 name[i]);
		check_refused(text, "cannot be made or written, ");
	}
	unlink(fifo);
	write_file("log", "old\n", 4, 0600);
	snprintf(text, sizeof(text), HTTP "event_log = %s\n", path_of("log"));
	assert_int_equal(check_with(text), 0);
	snprintf(text, sizeof(text), HTTP "event_log = %s\n", path_of("new"));
	assert_int_equal(check_with(text), 0);
	assert_int_equal(access(path_of("new"), F_OK), -1);
	unlink(path_of("log"));
}

static void
test_check_ca(void **state)
{
	(void)state;
	write_file("ca.pem", "nothing\n", 8, 0644);
	check_refused(HTTP, ":4: cloud_ca_file");
	write_file(
	    "ca.pem",
	    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	    59, 0644);
	check_refused(HTTP, "does not parse");
	EVP_PKEY_free(make_pair(path_of("ca.pem"), NULL, 1000, NULL));
	assert_int_equal(check_with(HTTP), 0);
}

static void
test_check_tls(void **state)
{
	EVP_PKEY *k, *other;
	char tls[600];
	FILE *f;

	(void)state;
	k = make_pair(path_of("a.crt"), path_of("a.key"), 1000, NULL);
	snprintf(
	    tls, sizeof(tls),
	    "listener s {\n port = 443\n tls = true\n certificate = %s/a.crt\n"
	    " key = %s/a.key\n}\n",
	    dir, dir);
	assert_int_equal(check_with(tls), 0);
	assert_int_equal(chmod(path_of("a.key"), 0640), 0);
	check_refused(tls, ":9: listener s: key = ");
	assert_non_null(strstr(e.text[0], "chmod 600"));
	assert_int_equal(chmod(path_of("a.key"), 0600), 0);

	EVP_PKEY_free(make_pair(path_of("a.crt"), NULL, -1000, k));
	check_warned(tls, ":8: listener s: certificate = ");
	assert_non_null(strstr(e.warn[0], "has expired"));
	k = make_pair(path_of("a.crt"), path_of("a.key"), 6 * 86400 + 60, NULL);
	EVP_PKEY_free(k);
	check_warned(tls, "expires in 6 days");
	EVP_PKEY_free(
	    make_pair(path_of("a.crt"), path_of("a.key"), 8 * 86400, NULL));
	assert_int_equal(check_with(tls), 0);
	assert_int_equal(e.nwarn, 0);

	/* relays get the certificate's file as it is */
	k = make_pair(path_of("a.crt"), path_of("a.key"), 8 * 86400, NULL);
	f = fopen(path_of("a.crt"), "a");
	assert_int_equal(PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL),
			 1);
	fclose(f);
	EVP_PKEY_free(k);
	check_refused(tls, ":8: listener s: certificate = ");
	assert_non_null(strstr(e.text[0], "a private key stands in it"));

	other = make_pair(path_of("a.crt"), NULL, 1000, NULL);
	check_refused(tls, "not the key of this certificate");
	f = fopen(path_of("a.key"), "w");
	assert_int_equal(PEM_write_PrivateKey(f, other, EVP_aes_128_cbc(),
					      (const unsigned char *)"x", 1,
					      NULL, NULL),
			 1);
	fclose(f);
	check_refused(tls, "the key has a passphrase");
	EVP_PKEY_free(other);
	write_file("a.key", "junk", 4, 0600);
	check_refused(tls, "no private key that parses");
	write_file("a.crt", "junk", 4, 0600);
	assert_int_equal(check_with(tls), -EINVAL);
	assert_int_equal(e.n, 2);
	check_refused("listener s { key = /x }\n", "tls is not");
	assert_int_equal(check_with("listener s { tls = true }\n"), -EINVAL);
	assert_int_equal(e.n, 2);
	assert_non_null(strstr(e.text[0], ":5: listener s: certificate: not "
					  "set"));
}

/* Who vouches for whom, and what kind of key. */
static void
test_check_chain(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"),
		 *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	char leaf[64], ca[64], chain[64], tls[600];
	const char *const good[] = {leaf, ca}, *const bad[] = {ca, leaf};
	FILE *f;

	(void)state;
	snprintf(leaf, sizeof(leaf), "%s/leaf.crt", dir);
	snprintf(ca, sizeof(ca), "%s/issuer.crt", dir);
	snprintf(chain, sizeof(chain), "%s/chain.crt", dir);
	snprintf(tls, sizeof(tls),
		 "listener s {\n port = 443\n tls = true\n certificate = %s\n"
		 " key = %s/a.key\n}\n",
		 chain, dir);
	/* the same key for both: each has issued the other */
	(void)make_pair(leaf, path_of("a.key"), 86400 * 9, key);
	(void)make_pair(ca, NULL, 86400 * 9, key);
	join(chain, 2, good);
	assert_int_equal(check_with(tls), 0);
	assert_int_equal(e.nwarn, 0);
	(void)make_pair(ca, NULL, 86400 * 9, other);
	join(chain, 2, good);
	check_refused(tls, ":8: listener s: certificate = ");
	assert_non_null(strstr(e.text[0], "certificate 2 in it"));
	assert_non_null(strstr(e.text[0], "has not issued the one before"));
	join(chain, 2, bad);
	assert_int_equal(check_with(tls), -EINVAL);
	assert_int_equal(e.n, 2); /* nor is it the key's */
	join(chain, 1, good);
	f = fopen(path_of("a.key"), "w");
	assert_int_equal(PEM_write_PrivateKey(f, ed, NULL, NULL, 0, NULL, NULL),
			 1);
	fclose(f);
	check_refused(tls, "neither RSA nor EC");
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	EVP_PKEY_free(ed);
}

static void
test_check_bindings(void **state)
{
	char more[600], file[64], one[64];
	const char *from[8];

	(void)state;
	snprintf(file, sizeof(file), "%s/b.pem", dir);
	snprintf(more, sizeof(more),
		 "listener h {\n port = 80\n"
		 " channel_binding_certificates = %s\n}\n",
		 file);
	check_refused(more, ":7: listener h: channel_binding_certificates = ");
	assert_non_null(strstr(e.text[0], "no such file"));
	write_file("b.pem", "", 0, 0644);
	check_refused(more, "no certificate in it");
	write_file("b.pem",
		   "-----BEGIN CERTIFICATE-----\nAAAA\n"
		   "-----END CERTIFICATE-----\n",
		   59, 0644);
	check_refused(more, "does not parse");
	snprintf(one, sizeof(one), "%s/one.crt", dir);
	EVP_PKEY_free(make_pair(one, NULL, 1000, NULL));
	for (size_t i = 0; i < ARRAY_LEN(from); i++)
		from[i] = one;
	join(file, 8, from);
	check_refused(more, "more certificates than it may hold");
	join(file, 7, from);
	assert_int_equal(check_with(more), 0);
	assert_int_equal(e.nwarn, 0); /* old ones are there for a while */
	snprintf(more + strlen(more) - 2, 80, " channel_binding = off\n}\n");
	check_refused(more, "channel_binding is off");
	check_refused("listener h { channel_binding = require }\n",
		      ":5: listener h: channel_binding = require: without TLS");
	REFUSED("listener h { channel_binding = yes }\n",
		"x.conf:1: channel_binding = yes: not one of");
}

/* --- the keytab -------------------------------------------------------- */

static void
count_key(void *arg, const struct conf_keytab_entry *k)
{
	unsigned *n = arg;

	(*n)++;
	assert_string_equal(k->principal, "HTTP/a@R");
	assert_int_equal(k->kvno, 3);
	assert_int_equal(k->enctype, 18);
}

static void
test_keytab(void **state)
{
	uint8_t data[256] = {0};
	unsigned n = 0;
	const char *why;
	size_t len = sizeof(one_key);

	(void)state;
	assert_int_equal(conf_keytab_walk(one_key, len, count_key, &n, &why),
			 1);
	assert_int_equal(n, 1);
	/* Every cut is found out, but the one that leaves no entry at all. */
	for (size_t i = 0; i < len; i++) {
		memcpy(data, one_key, i);
		assert_int_equal(conf_keytab_walk(data, i, NULL, NULL, &why),
				 -EINVAL);
		assert_non_null(why);
	}
	/* A name with a NUL would read as another. */
	memcpy(data, one_key, len);
	*(uint8_t *)memchr(data, 'a', len) = '\0';
	assert_int_equal(conf_keytab_walk(data, len, NULL, NULL, &why),
			 -EINVAL);
	/* A hole before the entry, and the 32-bit kvno behind it. */
	memcpy(data, "\5\2\377\377\377\374", 6);
	memset(data + 6, 0xff, 4);
	memcpy(data + 10, one_key + 2, len - 2);
	data[13] = 63;
	memcpy(data + 8 + len, "\0\0\0\3", 4);
	data[10 + 4 + 22] = 99;
	n = 0;
	assert_int_equal(conf_keytab_walk(data, len + 12, count_key, &n, &why),
			 1);
	/* The widest hole and the widest entry. */
	memcpy(data + 2, "\x80\0\0\0", 4);
	assert_int_equal(conf_keytab_walk(data, 64, NULL, NULL, &why), -EINVAL);
	memcpy(data + 2, "\x7f\xff\xff\xff", 4);
	assert_int_equal(conf_keytab_walk(data, 64, NULL, NULL, &why), -EINVAL);
	memcpy(data, "\5\1", 2);
	assert_int_equal(conf_keytab_walk(data, 64, NULL, NULL, &why), -EINVAL);
	assert_non_null(strstr(why, "0x0501"));
}

static void
test_check_keytab(void **state)
{
	char text[400];

	(void)state;
	snprintf(text, sizeof(text), "%skeytab = %s/kt\n", HTTP, dir);
	check_refused(text, ":6: keytab = ");
	assert_non_null(strstr(e.text[0], "no such file"));
	write_file("kt", one_key, sizeof(one_key), 0600);
	assert_int_equal(check_with(text), 0);
	assert_int_equal(chmod(path_of("kt"), 0604), 0);
	check_refused(text, "group or others may reach it");
	write_file("kt", one_key, 2, 0600);
	check_refused(text, "no key in it");
	write_file("kt", "junk", 4, 0600);
	check_refused(text, "not a keytab");
	write_file("kt", "", 0, 0600);
	check_refused(text, "not a keytab");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_check_node),
	    cmocka_unit_test(test_check_logs),
	    cmocka_unit_test(test_check_ca),
	    cmocka_unit_test(test_check_tls),
	    cmocka_unit_test(test_check_chain),
	    cmocka_unit_test(test_check_bindings),
	    cmocka_unit_test(test_keytab),
	    cmocka_unit_test(test_check_keytab),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
