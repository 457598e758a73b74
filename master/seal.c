/*
 * Purpose: keep secrets unreadable on disk.
 *
 * Runs in: the master.
 * Trusts:  the key file, once owner and mode are as they must be.
 * Touches: the key file and the directory it is in; one locked page.
 * Failure: a value that does not open is -EBADMSG, never a wrong plaintext.
 */
#include "master/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"

#define SEAL_VERSION 1
#define NONCE_BYTES  12 /* SP 800-38D 5.2.1.1: the length that needs no hash */
#define TAG_BYTES    16

_Static_assert(SEAL_OVERHEAD == 1 + NONCE_BYTES + TAG_BYTES, "layout");

struct seal {
	EVP_CIPHER *gcm; /* fetched once: a fetch walks the providers */
	uint8_t *key;	 /* SEAL_KEY_BYTES, in a page of its own */
	size_t page;
};

PRINTF(4, 5)
static int
fail(char *err, size_t size, int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, size, fmt, ap);
	va_end(ap);
	return e;
}

/* The key's own page.  DONTFORK: a child that touched it would fault rather
 * than seal under something else. */
static uint8_t *
page_new(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, size, MADV_DONTDUMP) != 0 ||
	    madvise(p, size, MADV_DONTFORK) != 0) {
		munmap(p, size);
		return NULL;
	}
	if (mlock(p, size) != 0)
		log_warn("the sealing key may be swapped out: mlock: %s; "
			 "raise the limit of locked memory",
			 strerror(errno));
	return p;
}

/* Directory part of path, "." when there is none.  Caller frees. */
static char *
dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int
dir_sync(const char *path)
{
	char *dir = dir_of(path);
	int fd, r = 0;

	if (dir == NULL)
		return -ENOMEM;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		r = -errno;
	free(dir);
	fd_close(&fd);
	return r;
}

static int
key_write(int fd)
{
	uint8_t key[SEAL_KEY_BYTES];
	int r = 0;

	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		r = -EIO;
	if (r == 0)
		r = fd_write_all(fd, key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
	if (r == 0 && fsync(fd) != 0)
		r = -errno;
	return r;
}

/*
 * Makes the file under a name of its own and links it to `path` when it is on
 * disk: a key is there whole or not at all, and one that is there already
 * (another master's, a moment ago) is never replaced.
 */
static int
key_make(const char *path)
{
	char *tmp = NULL;
	int fd, r;

	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(tmp, O_CLOEXEC); /* 0600 */
	if (fd < 0) {
		r = -errno;
		free(tmp);
		return r;
	}
	r = key_write(fd);
	if (r == 0 && link(tmp, path) != 0 && errno != EEXIST)
		r = -errno;
	fd_close(&fd);
	(void)unlink(tmp);
	free(tmp);
	return r != 0 ? r : dir_sync(path);
}

static int
key_check(const struct stat *st, const char *path, char *err, size_t size)
{
	if (!S_ISREG(st->st_mode))
		return fail(err, size, -EINVAL,
			    "sealing key %s is not a regular file", path);
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return fail(
		    err, size, -EACCES,
		    "sealing key %s belongs to uid %u; chown it to root", path,
		    st->st_uid);
	if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return fail(
		    err, size, -EACCES,
		    "sealing key %s is open to others (mode %03o); chmod 600 "
		    "it, and change the secrets if somebody may have read it",
		    path, st->st_mode & 0777U);
	if (st->st_size != SEAL_KEY_BYTES)
		return fail(
		    err, size, -EINVAL,
		    "sealing key %s has %lld bytes, not %d; restore it from "
		    "its backup",
		    path, (long long)st->st_size, SEAL_KEY_BYTES);
	return 0;
}

/* From the descriptor into the page, with no copy in between. */
static int
key_read(int fd, uint8_t *key, const char *path, char *err, size_t size)
{
	static const uint8_t zeros[SEAL_KEY_BYTES];
	size_t got = 0;
	ssize_t n;

	while (got < SEAL_KEY_BYTES) {
		n = read(fd, key + got, SEAL_KEY_BYTES - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(err, size, -errno, "sealing key %s: %s",
				    path, strerror(errno));
		if (n == 0)
			return fail(err, size, -EINVAL,
				    "sealing key %s was cut while it was read",
				    path);
		got += (size_t)n;
	}
	/* What a damaged file system leaves of a file: not a secret. */
	if (CRYPTO_memcmp(key, zeros, SEAL_KEY_BYTES) == 0)
		return fail(
		    err, size, -EINVAL,
		    "sealing key %s is all zeros; restore it from its backup",
		    path);
	return 0;
}

static int
key_load(uint8_t *key, const char *path, bool create, char *err, size_t size)
{
	struct stat st;
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT && create) {
		r = key_make(path);
		if (r != 0)
			return fail(err, size, r,
				    "sealing key %s could not be made: %s",
				    path, strerror(-r));
		log_info("sealing key %s made; keep a copy of it apart from "
			 "the store's backups",
			 path);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	if (fd < 0)
		return fail(err, size, -errno,
			    "sealing key %s cannot be opened: %s", path,
			    strerror(errno));
	r = fstat(fd, &st) == 0 ? key_check(&st, path, err, size)
				: fail(err, size, -errno, "sealing key %s: %s",
				       path, strerror(errno));
	if (r == 0)
		r = key_read(fd, key, path, err, size);
	fd_close(&fd);
	return r;
}

int
seal_load(struct seal **s_r, const char *path, bool create, char *err,
	  size_t size)
{
	struct seal *s = calloc(1, sizeof(*s));
	int r;

	*s_r = NULL;
	if (s == NULL)
		return fail(err, size, -ENOMEM, "out of memory");
	s->page = (size_t)sysconf(_SC_PAGESIZE);
	s->key = page_new(s->page);
	s->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (s->key == NULL)
		r = fail(err, size, -ENOMEM,
			 "no memory of its own for the sealing key: %s",
			 strerror(errno));
	else if (s->gcm == NULL)
		r = fail(
		    err, size, -ENOTSUP,
		    "OpenSSL has no AES-256-GCM here; see its configuration");
	else
		r = key_load(s->key, path, create, err, size);
	if (r != 0) {
		seal_free(&s);
		return r;
	}
	*s_r = s;
	return 0;
}

void
seal_free(struct seal **sp)
{
	struct seal *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	if (s->key != NULL) {
		OPENSSL_cleanse(s->key, SEAL_KEY_BYTES);
		munmap(s->key, s->page);
	}
	EVP_CIPHER_free(s->gcm);
	free(s);
}

/* What is authenticated besides the value: its version and its place. */
static bool
add_context(EVP_CIPHER_CTX *c, struct slice context)
{
	const uint8_t version = SEAL_VERSION;
	int n;

	return EVP_CipherUpdate(c, NULL, &n, &version, 1) == 1 &&
	       (context.len == 0 ||
		EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)context.p,
				 (int)context.len) == 1);
}

/* Runs the cipher over len bytes; tag is written (enc) or compared. */
static bool
run(struct seal *s, int enc, struct slice context, const uint8_t *nonce,
    const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t none[TAG_BYTES];
	int n = 0;
	bool ok;

	ok = c != NULL &&
	     EVP_CipherInit_ex2(c, s->gcm, s->key, nonce, enc, NULL) == 1 &&
	     add_context(c, context);
	if (ok && len > 0)
		ok = EVP_CipherUpdate(c, out, &n, in, (int)len) == 1 &&
		     (size_t)n == len;
	if (ok && enc == 0)
		ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES,
					 tag) == 1;
	ok = ok && EVP_CipherFinal_ex(c, none, &n) == 1;
	if (ok && enc == 1)
		ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES,
					 tag) == 1;
	EVP_CIPHER_CTX_free(c); /* wipes its key schedule */
	return ok;
}

ssize_t
seal_close(struct seal *s, struct slice context, const void *plain, size_t len,
	   void *out)
{
	uint8_t *o = out, *nonce = o + 1, *body = nonce + NONCE_BYTES;

	BUG_ON(context.len > INT_MAX);
	if (len > SEAL_PLAIN_MAX)
		return -EMSGSIZE;
	o[0] = SEAL_VERSION;
	if (RAND_bytes(nonce, NONCE_BYTES) != 1)
		return -EIO;
	if (!run(s, 1, context, nonce, plain, len, body, body + len)) {
		OPENSSL_cleanse(out, len + SEAL_OVERHEAD);
		return -EIO;
	}
	return (ssize_t)(len + SEAL_OVERHEAD);
}

ssize_t
seal_open(struct seal *s, struct slice context, const void *sealed, size_t len,
	  void *out)
{
	const uint8_t *in = sealed, *nonce, *body;
	uint8_t tag[TAG_BYTES];
	size_t n;

	BUG_ON(context.len > INT_MAX);
	if (len < SEAL_OVERHEAD || len > SEAL_PLAIN_MAX + SEAL_OVERHEAD ||
	    in[0] != SEAL_VERSION)
		return -EBADMSG;
	n = len - SEAL_OVERHEAD;
	nonce = in + 1;
	body = nonce + NONCE_BYTES;
	memcpy(tag, body + n, TAG_BYTES);
	if (!run(s, 0, context, nonce, body, n, out, tag)) {
		/* GCM deciphers before it knows: nobody may see that. */
		OPENSSL_cleanse(out, n);
		return -EBADMSG;
	}
	return (ssize_t)n;
}
