/*
 * Purpose: a list of servers as the connector takes it.
 *
 * Runs in: rmsctl.
 * Trusts:  its caller for the texts' lengths.
 * Touches: a memfd.
 * Failure: -errno; the list is not to be used then.
 */
#include "tools/ctl/bulk_out.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/base/pack.h"

#include "shm/base/log.h"

static void
put_head(const struct bulk_out *b, struct pack *k)
{
	pack_u32(k, BULK_MAGIC);
	pack_u32(k, BULK_VERSION);
	pack_u32(k, b->count);
}

int
bulk_out_open(struct bulk_out *b)
{
	int fd =
	    memfd_create("rmsctl-servers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t head[BULK_HEAD];
	struct pack k;
	int r;

	*b = (struct bulk_out){.bytes = BULK_HEAD};
	if (fd < 0)
		return -errno;
	b->f = fdopen(fd, "w");
	if (b->f == NULL) {
		r = -errno;
		close(fd);
		return r;
	}
	/* Its count is written when it is known. */
	pack_init(&k, head, sizeof(head));
	put_head(b, &k);
	return fwrite(k.p, 1, k.len, b->f) == k.len ? 0 : -EIO;
}

int
bulk_out_put(struct bulk_out *b, const struct bulk_row *row)
{
	uint8_t mem[sizeof(*row) + 64];
	struct pack k;

	pack_init(&k, mem, sizeof(mem));
	pack_u32(&k, row->line);
	pack_str(&k, row->subject);
	pack_str(&k, row->role);
	pack_u64(&k, row->expires);
	pack_str(&k, row->name);
	pack_str(&k, row->note);
	BUG_ON(k.full);
	if (b->bytes + k.len > BULK_BYTES_MAX || b->count == UINT32_MAX)
		return -EFBIG;
	b->bytes += k.len;
	b->count++;
	return fwrite(k.p, 1, k.len, b->f) == k.len ? 0 : -EIO;
}

int
bulk_out_seal(struct bulk_out *b)
{
	int fd = fileno(b->f);
	uint8_t head[BULK_HEAD];
	struct pack k;

	pack_init(&k, head, sizeof(head));
	put_head(b, &k);
	if (fflush(b->f) != 0 || pwrite(fd, k.p, k.len, 0) != (ssize_t)k.len)
		return -EIO;
	if (fcntl(fd, F_ADD_SEALS, BULK_SEALS | F_SEAL_SEAL) != 0)
		return -errno;
	return fd;
}

void
bulk_out_close(struct bulk_out *b)
{
	if (b->f != NULL)
		fclose(b->f);
	b->f = NULL;
}
