/*
 * Purpose: a bounded reader of the keytab file format.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the file is whatever is on the disk.
 * Touches: the file that is named, only read; the caller wipes the data.
 * Failure: -EINVAL and why.
 *
 *	u8 5, u8 2, then entries: i32 size, size bytes
 *	size < 0: a hole of -size bytes; 0: the end
 *	entry: u16 n, n + 1 counted texts (realm first), u32 name type,
 *	u32 time, u8 kvno, u16 enctype, counted key, maybe u32 kvno
 */
#include "conf/conf_keytab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "shm/base/fd.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

/* Big-endian and sticky: after the first short read all are zero or empty. */
struct reader {
	const uint8_t *p;
	size_t len;
	bool bad;
};

static const uint8_t *
take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > r->len) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	r->len -= n;
	return p;
}

static uint32_t
take_int(struct reader *r, size_t n)
{
	const uint8_t *p = take(r, n);
	uint32_t v = 0;

	for (size_t i = 0; p != NULL && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static struct slice
take_counted(struct reader *r)
{
	size_t n = take_int(r, 2);
	const uint8_t *p = take(r, n);

	return p == NULL ? (struct slice){"", 0}
			 : (struct slice){(const char *)p, n};
}

/* A part of a name: one with a NUL is none, it would read as another. */
static struct slice
take_name(struct reader *r)
{
	struct slice s = take_counted(r);

	if (memchr(s.p, '\0', s.len) != NULL)
		r->bad = true;
	return s;
}

/* What makes a key's number, so that it tells nothing about the key. */
static const struct hash_key *
key_of_keys(void)
{
	static struct hash_key key;
	static bool made;

	if (!made)
		hash_key_new(&key);
	made = true;
	return &key;
}

static bool
read_entry(struct reader r, struct conf_keytab_entry *e)
{
	uint32_t n = take_int(&r, 2), kvno;
	struct slice realm = take_name(&r), key;
	struct sbuf b;

	memset(e, 0, sizeof(*e));
	sbuf_init(&b, e->principal, sizeof(e->principal));
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		if (i > 0)
			sbuf_char(&b, '/');
		sbuf_slice(&b, take_name(&r));
	}
	sbuf_char(&b, '@');
	sbuf_slice(&b, realm);
	take(&r, 4); /* name type */
	e->added = take_int(&r, 4);
	e->kvno = take_int(&r, 1);
	e->enctype = (int)take_int(&r, 2);
	key = take_counted(&r);
	if (key.len == 0 || n == 0)
		return false;
	e->key = hash_bytes(key_of_keys(), key.p, key.len);
	/* The one byte is the low part where 32 bits follow; 0: not there. */
	if (!r.bad && r.len >= 4) {
		kvno = take_int(&r, 4);
		if (kvno != 0)
			e->kvno = kvno;
	}
	return !r.bad;
}

int
conf_keytab_walk(const void *data, size_t len,
		 void (*each)(void *arg, const struct conf_keytab_entry *e),
		 void *arg, const char **why_r)
{
	struct reader r = {data, len, false};
	uint32_t version = take_int(&r, 2);
	struct conf_keytab_entry e;
	int n = 0;

	*why_r = NULL;
	if (version != 0x0502) {
		*why_r = version == 0x0501
			     ? "it has the old format 0x0501, export it again"
			     : "not a keytab, export it again in binary mode";
		return -EINVAL;
	}
	while (r.len >= 4) {
		uint32_t size = take_int(&r, 4);
		bool hole = size > INT32_MAX;
		struct reader entry = {.len = hole ? 0U - size : size};

		if (size == 0)
			break;
		entry.p = take(&r, entry.len);
		if (entry.p == NULL || (!hole && !read_entry(entry, &e))) {
			*why_r = "it is damaged or cut short, export it again";
			return -EINVAL;
		}
		if (hole)
			continue;
		n++;
		if (each != NULL)
			each(arg, &e);
	}
	if (n == 0) {
		*why_r = "there is no key in it, export it again";
		return -EINVAL;
	}
	return n;
}

static const char *
why_unread(int e)
{
	switch (-e) {
	case EFBIG:
		return "far too large, name the right file";
	case EINVAL:
		return "not a regular file, name the file";
	default:
		return strerror(-e);
	}
}

/* The bytes of an open file; 0 or -errno with why. */
static int
read_file(int fd, char **data_r, size_t *len_r, struct stat *st,
	  const char **why)
{
	int r;

	if (fstat(fd, st) != 0) {
		r = -errno;
		*why = strerror(-r);
		return r;
	}
	if ((st->st_mode & 077) != 0) {
		*why = "group or others may reach it, it is a secret, "
		       "chmod 600";
		return -EACCES;
	}
	r = fd_read_all(fd, CONF_KEYTAB_BYTES_MAX, data_r, len_r);
	if (r != 0) {
		*why = why_unread(r);
		return r;
	}
	if (conf_keytab_walk(*data_r, *len_r, NULL, NULL, why) > 0)
		return 0;
	str_wipe(*data_r, *len_r);
	free(*data_r);
	*data_r = NULL;
	return -EINVAL;
}

int
conf_keytab_read(const char *path, char **data_r, size_t *len_r,
		 struct stat *st_r, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r;
	const char *text = "";
	struct stat st = {0};

	*data_r = NULL;
	*len_r = 0;
	if (fd < 0) {
		r = -errno;
		snprintf(why, why_size,
			 "%s: cannot be opened: %s, correct the path or its "
			 "rights",
			 path, strerror(-r));
	} else {
		r = read_file(fd, data_r, len_r, &st, &text);
		if (r != 0)
			snprintf(why, why_size, "%s: %s", path, text);
	}
	fd_close(&fd);
	if (st_r != NULL)
		*st_r = st;
	return r;
}
