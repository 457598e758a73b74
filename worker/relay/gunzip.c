/*
 * Purpose: undo gzip for a client that did not ask for it.
 *
 * Runs in: relay.
 * Trusts:  zlib; no byte of the stream.
 * Touches: memory: 40 kB for each stream under way.
 * Failure: GUNZIP_BAD; what was given out before stays given.
 */
#include "worker/relay/gunzip.h"

#include <zlib.h>

#include "shm/base/log.h"

/* Streams that have ended, for the next replies. */
#define GUNZIP_SPARE_MAX 16

struct gunzip {
	struct gunzip *next_free;
	z_stream z;
	uint64_t max, in, out;
	bool complete, bad;
};

static struct gunzip *gunzip_spare;
static size_t gunzip_nspare;
/* One handler at a time. */
static unsigned char gunzip_out[GUNZIP_OUT];

/* Memory of zlib, from where all of ours is. */
static voidpf
gunzip_zalloc(voidpf arg UNUSED, uInt n, uInt size)
{
	return calloc(n, size);
}

static void
gunzip_zfree(voidpf arg UNUSED, voidpf p)
{
	free(p);
}

struct gunzip *
gunzip_new(uint64_t max)
{
	struct gunzip *g = gunzip_spare;

	if (g != NULL) {
		gunzip_spare = g->next_free;
		gunzip_nspare--;
		inflateReset(&g->z);
	} else {
		g = calloc(1, sizeof(*g));
		if (g == NULL)
			return NULL;
		g->z.zalloc = gunzip_zalloc;
		g->z.zfree = gunzip_zfree;
		/* 16: a gzip head and trailer, nothing else */
		if (inflateInit2(&g->z, 15 + 16) != Z_OK) {
			free(g);
			return NULL;
		}
	}
	g->max = max;
	g->in = g->out = 0;
	g->complete = g->bad = false;
	return g;
}

void
gunzip_free(struct gunzip **gp)
{
	struct gunzip *g = *gp;

	if (g == NULL)
		return;
	*gp = NULL;
	if (gunzip_nspare >= GUNZIP_SPARE_MAX) {
		inflateEnd(&g->z);
		free(g);
		return;
	}
	g->next_free = gunzip_spare;
	gunzip_spare = g;
	gunzip_nspare++;
}

static enum gunzip_result
gunzip_fail(struct gunzip *g, const char *why, const char **why_r)
{
	g->bad = true;
	*why_r = why;
	return GUNZIP_BAD;
}

enum gunzip_result
gunzip_run(struct gunzip *g, const char *in, size_t len, size_t *used_r,
	   const char **out_r, size_t *n_r, const char **why_r)
{
	uInt part = (uInt)MIN(len, (size_t)1 << 20);
	int r;

	*used_r = *n_r = 0;
	if (g->bad)
		return gunzip_fail(g, "it was bad before", why_r);
	if (g->complete)
		return len == 0 ? GUNZIP_MORE
				: gunzip_fail(g, "bytes behind its end", why_r);
	g->z.next_in = (z_const Bytef *)(uintptr_t)in;
	g->z.avail_in = part;
	g->z.next_out = gunzip_out;
	g->z.avail_out = GUNZIP_OUT;
	r = inflate(&g->z, Z_NO_FLUSH);
	*used_r = part - g->z.avail_in;
	*n_r = GUNZIP_OUT - g->z.avail_out;
	*out_r = (const char *)gunzip_out;
	g->in += *used_r;
	g->out += *n_r;
	if (r == Z_MEM_ERROR) {
		g->bad = true;
		return GUNZIP_NOMEM;
	}
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return gunzip_fail(g, g->z.msg != NULL ? g->z.msg : "no gzip",
				   why_r);
	if (g->out > g->max)
		return gunzip_fail(g, "more than wan_reply_bytes_max", why_r);
	if (g->out > GUNZIP_FREE && g->out / GUNZIP_RATIO > g->in)
		return gunzip_fail(g, "it grows too much", why_r);
	g->complete = r == Z_STREAM_END;
	if (*n_r > 0)
		return GUNZIP_DATA;
	if (*used_r == len)
		return GUNZIP_MORE;
	if (g->complete)
		return gunzip_fail(g, "bytes behind its end", why_r);
	/* neither input nor output moved: cannot be with room for both */
	return *used_r > 0 ? GUNZIP_MORE
			   : gunzip_fail(g, "it does not go on", why_r);
}

bool
gunzip_is_complete(const struct gunzip *g)
{
	return g->complete && !g->bad;
}
