/*
 * Purpose: open and read the files whose contents children get.
 *
 * Runs in: the master.
 * Trusts:  conf_file_check(), which looked at rights and contents before.
 * Touches: certificates, revocation lists, keys, keytab and the secret of
 *          tickets (wiped), accounts for NTLM (opened, never read here), CA
 *          file.
 * Failure: -errno with a line; nothing half-loaded stays.
 */
#include "master/publish_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf_file.h"
#include "conf/conf_keytab.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

/* Every CA of the world is about 250 kB. */
#define FILES_CA_MAX (UINT64_C(16) << 20)
/* A certificate with its issuers is 10 kB. */
#define FILES_PEM_MAX (UINT64_C(1) << 20)

static int
files_open(const char *path, int *fd_r, char *err, size_t err_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		int e = errno;

		snprintf(
		    err, err_size,
		    "%s: cannot be opened: %s; correct the path or its rights",
		    path, strerror(e));
		return -e;
	}
	*fd_r = fd;
	return 0;
}

static int
files_read(const char *path, size_t max, char **data_r, size_t *len_r,
	   char *err, size_t err_size)
{
	int fd = -1, r = files_open(path, &fd, err, err_size);

	if (r != 0)
		return r;
	r = fd_read_all(fd, max, data_r, len_r);
	fd_close(&fd);
	if (r != 0)
		snprintf(err, err_size,
			 "%s: cannot be read: %s; it must be a file of at most "
			 "%zu bytes",
			 path, strerror(-r), max);
	return r;
}

/* A copy that nobody can change any more. */
static int
files_seal(const char *path, const char *data, size_t len, int *fd_r, char *err,
	   size_t err_size)
{
	int fd = fd_memfd_sealed("pem", data, len);

	if (fd < 0) {
		snprintf(err, err_size, "%s: cannot be copied: %s", path,
			 strerror(-fd));
		return fd;
	}
	*fd_r = fd;
	return 0;
}

/* Likewise of what goes to relays. */
static int
files_seal_public(const char *path, const char *data, size_t len, int *fd_r,
		  char *err, size_t err_size)
{
	const char *fault = conf_public_fault((struct slice){data, len});

	if (fault == NULL)
		return files_seal(path, data, len, fd_r, err, err_size);
	snprintf(err, err_size, "%s: %s", path, fault);
	return -EINVAL;
}

/* Likewise of a file; an empty path is none. */
static int
files_copy(const char *path, size_t max, int *fd_r, char *err, size_t err_size)
{
	char *data;
	size_t len;
	int r;

	if (path[0] == '\0')
		return 0;
	r = files_read(path, max, &data, &len, err, err_size);
	if (r != 0)
		return r;
	r = files_seal_public(path, data, len, fd_r, err, err_size);
	free(data);
	return r;
}

/* A copy: who writes to the file does not change what a keeper that is
 * started again gets. */
static int
files_load_keytab(struct publish_files *f, const char *path, char *err,
		  size_t err_size)
{
	char *data;
	size_t len;
	int r = conf_keytab_read(path, &data, &len, NULL, err, err_size);

	if (r != 0)
		return r;
	f->keytab_fd = fd_memfd_sealed("keytab", data, len);
	str_wipe(data, len);
	free(data);
	if (f->keytab_fd >= 0)
		return 0;
	r = f->keytab_fd;
	f->keytab_fd = -1;
	snprintf(err, err_size, "%s: cannot be copied: %s", path, strerror(-r));
	return r;
}

static int
files_load_ticket_secret(struct publish_files *f, const char *path, char *err,
			 size_t err_size)
{
	char *data;
	size_t len;
	int r;

	if (path[0] == '\0')
		return 0;
	r = files_read(path, CONF_TICKET_SECRET_MAX, &data, &len, err,
		       err_size);
	if (r != 0)
		return r;
	r = len < CONF_TICKET_SECRET_MIN
		? -EINVAL
		: ticket_secret_take(data, len, f->ticket_secret);
	str_wipe(data, len);
	free(data);
	f->has_ticket_secret = r == 0;
	if (r != 0)
		snprintf(err, err_size, "%s: %s", path,
			 r == -EINVAL ? "it became shorter than 32 bytes; "
					"put it back"
				      : "out of memory");
	return r;
}

/*
 * Copies: a process that is started again gets what is in force, whoever
 * writes to the files meanwhile.  They are one pair as they are here, not only
 * as they were when conf_file_check() saw them.
 */
static int
files_load_pair(const char *cert_path, const char *key_path, int *chain_fd_r,
		int *key_fd_r, char *err, size_t err_size)
{
	char *chain, *key;
	size_t chain_len, key_len;
	const char *fault;
	int r = files_read(cert_path, FILES_PEM_MAX, &chain, &chain_len, err,
			   err_size);

	if (r != 0)
		return r;
	r = files_read(key_path, FILES_PEM_MAX, &key, &key_len, err, err_size);
	if (r != 0) {
		free(chain);
		return r;
	}
	fault = conf_pair_fault((struct slice){chain, chain_len},
				(struct slice){key, key_len});
	if (fault != NULL) {
		snprintf(err, err_size, "%s: %s", key_path, fault);
		r = -EINVAL;
	}
	if (r == 0)
		r = files_seal_public(cert_path, chain, chain_len, chain_fd_r,
				      err, err_size);
	if (r == 0)
		r = files_seal(key_path, key, key_len, key_fd_r, err, err_size);
	str_wipe(key, key_len);
	free(key);
	free(chain);
	return r;
}

static int
files_load_pairs(struct publish_files *f, size_t i,
		 const struct conf_listener *c, char *err, size_t err_size)
{
	char cert[CONF_TEXT_MAX], key[CONF_TEXT_MAX];
	int r = 0;

	for (size_t k = 0; r == 0 && k < CONF_CERTS_MAX &&
			   conf_path_at(&c->certificate, k, cert) &&
			   conf_path_at(&c->key, k, key);
	     k++)
		r = files_load_pair(cert, key, &f->chain_fd[i][k],
				    &f->key_fd[i][k], err, err_size);
	return r;
}

/* To the certificate that it is about; what is wrong with it is told by
 * check_ocsp(). */
static int
files_load_response(struct publish_files *f, size_t i, const char *path,
		    char *err, size_t err_size)
{
	char *der, *pem;
	size_t len, pem_len;
	uint64_t until;
	bool mine = false;
	int r = 0;

	if (conf_ocsp_read(path, CONF_OCSP_BYTES_MAX, &der, &len) != 0) {
		f->ocsp_left_out++;
		return 0;
	}
	for (size_t k = 0; r == 0 && !mine && k < CONF_CERTS_MAX; k++) {
		if (f->chain_fd[i][k] < 0 ||
		    fd_read_all(f->chain_fd[i][k], FILES_PEM_MAX, &pem,
				&pem_len) != 0)
			break;
		mine = conf_ocsp_fault((struct slice){der, len},
				       (struct slice){pem, pem_len},
				       &until) == NULL;
		free(pem);
		if (!mine)
			continue;
		fd_close(&f->ocsp_fd[i][k]);
		f->ocsp_until_s[i][k] = until;
		r = files_seal(path, der, len, &f->ocsp_fd[i][k], err,
			       err_size);
	}
	free(der);
	if (!mine)
		f->ocsp_left_out++;
	return r;
}

static int
files_load_responses(struct publish_files *f, size_t i,
		     const struct conf_listener *c, char *err, size_t err_size)
{
	char path[CONF_TEXT_MAX];
	int r = 0;

	for (size_t n = 0;
	     r == 0 && conf_path_at(&c->certificate_ocsp, n, path); n++)
		r = files_load_response(f, i, path, err, err_size);
	return r;
}

static int
files_load_listener(struct publish_files *f, size_t i,
		    const struct conf_listener *c, char *err, size_t err_size)
{
	int r = files_copy(c->channel_binding_certificates.s, FILES_PEM_MAX,
			   &f->pem_fd[i][PEM_BINDINGS], err, err_size);

	if (r != 0 || !c->tls)
		return r;
	r = files_load_pairs(f, i, c, err, err_size);
	if (r == 0)
		r = files_load_responses(f, i, c, err, err_size);
	if (r == 0)
		r = files_copy(c->client_ca.s, FILES_PEM_MAX,
			       &f->pem_fd[i][PEM_CLIENT_CA], err, err_size);
	if (r == 0)
		r = files_copy(c->client_crl.s, FILES_CA_MAX,
			       &f->pem_fd[i][PEM_CLIENT_CRL], err, err_size);
	return r;
}

bool
publish_files_differ(const char *path, int copy_fd)
{
	char *data = NULL, *copy = NULL, err[CONF_TEXT_MAX];
	size_t len, copy_len;
	bool differ;

	if (copy_fd < 0 || path[0] == '\0' ||
	    files_read(path, FILES_CA_MAX, &data, &len, err, sizeof(err)) != 0)
		return false;
	if (fd_read_all(copy_fd, FILES_CA_MAX, &copy, &copy_len) != 0) {
		free(data);
		return false;
	}
	differ = len != copy_len || memcmp(data, copy, len) != 0;
	free(data);
	free(copy);
	return differ;
}

int
publish_files_load(struct publish_files **f_r, const struct conf *conf,
		   char *err, size_t err_size)
{
	struct publish_files *f = calloc(1, sizeof(*f));
	int r = 0;

	if (f == NULL) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	f->keytab_fd = f->ntlm_users_fd = f->ca_fd = f->proxy_ca_fd = -1;
	memset(f->key_fd, 0xff, sizeof(f->key_fd)); /* all -1 */
	memset(f->pem_fd, 0xff, sizeof(f->pem_fd));
	memset(f->chain_fd, 0xff, sizeof(f->chain_fd));
	memset(f->ocsp_fd, 0xff, sizeof(f->ocsp_fd));
	for (size_t i = 0; r == 0 && i < conf->nlisteners; i++)
		r = files_load_listener(f, i, &conf->listener[i], err,
					err_size);
	if (r == 0)
		r = files_load_ticket_secret(f, conf->tls_ticket_secret_file.s,
					     err, err_size);
	if (r == 0 && conf->keytab.s[0] != '\0')
		r = files_load_keytab(f, conf->keytab.s, err, err_size);
	if (r == 0 && conf->ntlm && conf->ntlm_user_file.s[0] != '\0')
		r = files_open(conf->ntlm_user_file.s, &f->ntlm_users_fd, err,
			       err_size);
	if (r == 0)
		r = files_copy(conf->cloud_ca_file.s, FILES_CA_MAX, &f->ca_fd,
			       err, err_size);
	if (r == 0)
		r = files_copy(conf->proxy_ca_file.s, FILES_CA_MAX,
			       &f->proxy_ca_fd, err, err_size);
	if (r != 0) {
		publish_files_free(&f);
		return r;
	}
	*f_r = f;
	return 0;
}

void
publish_files_free(struct publish_files **fp)
{
	struct publish_files *f = *fp;

	if (f == NULL)
		return;
	for (size_t i = 0; i < CONF_LISTENERS_MAX; i++) {
		for (size_t k = 0; k < PEM_MAX; k++)
			fd_close(&f->pem_fd[i][k]);
		for (size_t k = 0; k < CONF_CERTS_MAX; k++) {
			fd_close(&f->chain_fd[i][k]);
			fd_close(&f->ocsp_fd[i][k]);
			fd_close(&f->key_fd[i][k]);
		}
	}
	fd_close(&f->keytab_fd);
	fd_close(&f->ntlm_users_fd);
	fd_close(&f->ca_fd);
	fd_close(&f->proxy_ca_fd);
	str_wipe(f->ticket_secret, sizeof(f->ticket_secret));
	free(f);
	*fp = NULL;
}
