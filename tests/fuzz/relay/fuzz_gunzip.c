/*
 * A gzip stream from the cloud.
 *
 * Input: a byte that says how large the pieces are, then the stream.  Holds:
 *	- the pieces do not matter: what comes out, and whether it is good, is
 *	  the same as for the stream in one piece;
 *	- what is found good is what zlib makes of it, and all of it;
 *	- no more comes out than the bounds say.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "shm/base/log.h"
#include "worker/relay/gunzip.h"

#define MAX_OUT ((uint64_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned char out[2][MAX_OUT + GUNZIP_OUT];

static bool
undo(const uint8_t *p, size_t len, size_t piece, unsigned char *to,
     size_t *len_r)
{
	struct gunzip *g = gunzip_new(MAX_OUT);
	const char *d, *why = NULL;
	size_t used, n;
	bool good = true;

	BUG_ON(g == NULL);
	*len_r = 0;
	while (good && len > 0) {
		size_t part = MIN(piece, len), left = part;
		enum gunzip_result r;

		do {
			r = gunzip_run(g, (const char *)p, left, &used, &d, &n,
				       &why);
			BUG_ON(used > left);
			p += used;
			left -= used;
			if (r != GUNZIP_DATA)
				continue;
			BUG_ON(n == 0 || n > GUNZIP_OUT);
			BUG_ON(*len_r + n > MAX_OUT);
			memcpy(to + *len_r, d, n);
			*len_r += n;
		} while (r == GUNZIP_DATA || (r == GUNZIP_MORE && left > 0));
		good = r < GUNZIP_BAD;
		BUG_ON(!good && why == NULL);
		len -= part;
	}
	good = good && gunzip_is_complete(g);
	gunzip_free(&g);
	return good;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char whole[MAX_OUT];
	size_t n[2];
	bool good[2];
	z_stream z = {0};

	if (size < 1)
		return 0;
	good[0] = undo(data + 1, size - 1, size, out[0], &n[0]);
	good[1] = undo(data + 1, size - 1, 1 + data[0], out[1], &n[1]);
	BUG_ON(good[0] != good[1]);
	if (!good[0])
		return 0;
	BUG_ON(n[0] != n[1] || memcmp(out[0], out[1], n[0]) != 0);
	BUG_ON(inflateInit2(&z, 15 + 16) != Z_OK);
	z.next_in = (z_const Bytef *)(uintptr_t)(data + 1);
	z.avail_in = (uInt)(size - 1);
	z.next_out = whole;
	z.avail_out = (uInt)sizeof(whole);
	BUG_ON(inflate(&z, Z_FINISH) != Z_STREAM_END || z.avail_in != 0);
	BUG_ON(z.total_out != n[0] || memcmp(whole, out[0], n[0]) != 0);
	inflateEnd(&z);
	return 0;
}
