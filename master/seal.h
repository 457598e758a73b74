/*
 * seal: secrets at rest, AES-256-GCM (SP 800-38D) under the sealing key.
 *
 * A sealed value is: version (1 byte, 1), nonce (12, random), ciphertext,
 * tag (16).  `context` is authenticated but not stored: the name of the record
 * that holds the value, so that a sealed value moved to another record does
 * not open.  Nonces are random: safe for 2^32 values under one key (SP 800-38D
 * section 8.3), more than an organisation seals in its life.
 *
 * The key is in a page of its own: locked (where the limits allow it), left
 * out of core dumps, not there in a forked child, wiped when freed.
 */
#ifndef RMS_SEAL_H
#define RMS_SEAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define SEAL_KEY_BYTES 32
#define SEAL_OVERHEAD  (1 + 12 + 16)
#define SEAL_PLAIN_MAX (1U << 20) /* far above any secret we keep */

struct seal;

/*
 * Loads the key file: exactly 32 bytes, a regular file of ours or root's, no
 * access for group and others.  With create, a missing file is made (0600)
 * from the kernel's random source, whole or not at all.  0 or -errno with a
 * line in err.
 */
MUST_USE int seal_load(struct seal **s_r, const char *path, bool create,
		       char *err, size_t err_size);
void seal_free(struct seal **s);

/*
 * out has room for len + SEAL_OVERHEAD and does not overlap plain.  Bytes
 * written; -EMSGSIZE above SEAL_PLAIN_MAX, -EIO when the library fails.
 */
MUST_USE ssize_t seal_close(struct seal *s, struct slice context,
			    const void *plain, size_t len, void *out);
/*
 * out has room for len - SEAL_OVERHEAD.  Bytes written, which the caller
 * wipes; -EBADMSG when it was not sealed under this key and context, or was
 * changed: out is then zeros.
 */
MUST_USE ssize_t seal_open(struct seal *s, struct slice context,
			   const void *sealed, size_t len, void *out);

#endif
