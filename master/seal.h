/*
 * seal: secrets at rest, AES-256-GCM (SP 800-38D) under the sealing key.
 *
 * A sealed value is: version (1 byte, 1), nonce (12, random), ciphertext,
 * tag (16).  `context` is authenticated but not stored: the name of the record
 * that holds the value, so that a sealed value moved to another record does
 * not open.
 */
#ifndef RMS_SEAL_H
#define RMS_SEAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define SEAL_KEY_BYTES 32
#define SEAL_OVERHEAD  (1 + 12 + 16)

struct seal; /* a loaded key; wiped when freed, kept out of dumps */

/*
 * Loads the key file: exactly 32 bytes, a regular file of ours or root's, no
 * access for group and others.  With create, a missing file is made (0600)
 * from the kernel's random source.  0 or -errno with a line in err.
 */
MUST_USE int seal_load(struct seal **s_r, const char *path, bool create,
    char *err, size_t err_size);
void seal_free(struct seal **s);

/* out has room for len + SEAL_OVERHEAD.  Bytes written or -errno. */
MUST_USE ssize_t seal_close(struct seal *s, struct slice context,
    const void *plain, size_t len, void *out);
/* out has room for len - SEAL_OVERHEAD.  Bytes written; -EBADMSG when it was
 * not sealed under this key and context, or was changed. */
MUST_USE ssize_t seal_open(struct seal *s, struct slice context,
    const void *sealed, size_t len, void *out);

#endif
