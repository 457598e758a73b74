/*
 * control_bulk: a list of servers as rmsctl hands it to the master, in a
 * sealed memfd that comes with the request `servers import` (SCM_RIGHTS).
 *
 *	u32 magic, u32 version, u32 number of records; then for each
 *	u32 line, str subject, str role, u64 expires (0 never), str name,
 *	str note
 *
 * as shm/base/pack.h writes it, and nothing behind.  The file is at most
 * BULK_BYTES_MAX and has the seals BULK_SEALS, so that whoever reads it can
 * map it: it cannot shrink under the reader, nor change between two looks.
 */
#ifndef RMS_CONTROL_BULK_H
#define RMS_CONTROL_BULK_H

#include <fcntl.h>

#define BULK_MAGIC     0x534d5242U /* "BRMS" */
#define BULK_VERSION   1U
#define BULK_HEAD      12U /* bytes before the first record */
#define BULK_BYTES_MAX (256U << 20)
#define BULK_SEALS     (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
/* Bytes of a text without its NUL. */
#define BULK_SUBJECT_MAX 511U
#define BULK_ROLE_MAX	 31U
#define BULK_NAME_MAX	 255U /* of name and note each */

#endif
