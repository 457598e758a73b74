/*
 * Purpose: a bounded reader of the keytab file format.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the file is whatever is on the disk.
 * Touches: nothing; the caller wipes the data.
 * Failure: -EINVAL and why.
 *
 *	u8 5, u8 2, then entries: i32 size, size bytes
 *	size < 0: a hole of -size bytes; 0: the end
 *	entry: u16 n, n + 1 counted texts (realm first), u32 name type,
 *	u32 time, u8 kvno, u16 enctype, counted key, maybe u32 kvno
 */
#include "conf/conf_keytab.h"

#include <errno.h>

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

static bool
read_entry(struct reader r, struct conf_keytab_entry *e)
{
	uint32_t n = take_int(&r, 2), kvno;
	struct slice realm = take_counted(&r);
	struct sbuf b;

	memset(e, 0, sizeof(*e));
	sbuf_init(&b, e->principal, sizeof(e->principal));
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		if (i > 0)
			sbuf_char(&b, '/');
		sbuf_slice(&b, take_counted(&r));
	}
	sbuf_char(&b, '@');
	sbuf_slice(&b, realm);
	take(&r, 8); /* name type, time */
	e->kvno = take_int(&r, 1);
	e->enctype = (int)take_int(&r, 2);
	if (take_counted(&r).len == 0 || n == 0)
		return false;
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
