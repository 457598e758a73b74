/*
 * identity: who a request comes from, as the keeper established it.
 *
 * Made by the keeper from an accepted GSSAPI context, sent in AUTH_REPLY, and
 * owned in a relay by the request (or, within the rules of DESIGN 5.3, by a
 * connection between requests).  Immutable once made.
 *
 * SIDs are in binary form (MS-DTYP 2.4.2.2): revision 1, count n <= 15, six
 * bytes of authority, n little-endian u32: 8 + 4n bytes.
 */
#ifndef RMS_IDENTITY_H
#define RMS_IDENTITY_H

#include <stdbool.h>

#include "shm/base/pack.h"
#include "shm/base/str.h"

#define SID_BYTES_MAX 68
/* "S-1-" + 48-bit authority + 15 subauthorities, and a NUL. */
#define SID_TEXT_MAX 192
/* Most SIDs of one identity: 1,015 is Windows' own limit of groups; the rest
 * is head-room (PEERS A10). */
#define IDENTITY_SIDS_MAX      1200
#define IDENTITY_PRINCIPAL_MAX 512

enum auth_mech {
	MECH_NONE = 0,
	MECH_KERBEROS = 1,
	MECH_NTLM = 2,
	MECH_CERT = 3,
};

enum sid_source { /* where a SID of an identity comes from */
		  SID_USER = 0,
		  SID_PRIMARY_GROUP = 1,
		  SID_GROUP = 2,
		  SID_EXTRA = 3,
		  SID_RESOURCE = 4,
		  SID_WINBIND = 5, /* a group of any kind, from winbind */
};

/* Why an identity has no SIDs, so that no entry for one lets it in. */
enum sid_lack {
	LACK_NONE_GIVEN = 0, /* no PAC with groups, or not Kerberos */
	LACK_SIGNATURE = 1,  /* the PAC is not signed with our key */
	LACK_MALFORMED = 2,
	LACK_TOO_MANY = 3, /* above IDENTITY_SIDS_MAX: none is taken */
	LACK_MAX,
};

struct identity_sid {
	uint8_t source; /* enum sid_source */
	uint8_t len;
	uint8_t bytes[SID_BYTES_MAX];
};

struct identity {
	enum auth_mech mech;
	/* The client is bound to a certificate (RFC 5929 4) and that is ours,
	 * or one of the listener's further ones.  false: it sent no binding,
	 * or none is looked at: whoever it talks to may be another. */
	bool bound;
	/* To one of the further ones: somebody else ends its TLS, so this
	 * connection is not that client's alone. */
	bool bound_before;
	uint64_t expires; /* of the ticket, CLOCK_REALTIME seconds; 0 unknown */
	/* Kerberos "EXCH01$@CONTOSO.TEST", NTLM "CONTOSO\EXCH01$", or the
	 * subject of a certificate.  What the table's principals match. */
	char principal[IDENTITY_PRINCIPAL_MAX];
	/* Service principal that the ticket is for; of a certificate its
	 * issuer. */
	char spn[256];
	uint32_t kvno;	    /* of the key that opened it; 0 unknown */
	int32_t enctype;    /* Kerberos number; 0 unknown */
	size_t nsids;	    /* 0: no group rights, lack says why */
	enum sid_lack lack; /* 0 while there are SIDs */
	/* No SID twice, the user's own first.  Owned. */
	struct identity_sid *sids;
};

/* Most bytes that identity_pack() writes. */
#define IDENTITY_PACKED_MAX                                                 \
	(1 + 1 + 8 + (4 + IDENTITY_PRINCIPAL_MAX) + (4 + 256) + 4 + 4 + 1 + \
	 4 + IDENTITY_SIDS_MAX * (1 + 4 + SID_BYTES_MAX))

const char *mech_name(enum auth_mech m);	     /* "kerberos" ... */
const char *sid_source_name(enum sid_source source); /* "user" ... */
const char *sid_lack_text(enum sid_lack lack);	     /* for log and event */

/* NULL when out of memory. */
MUST_USE struct identity *identity_new(void);
void identity_free(struct identity **id);

void identity_pack(struct pack *k, const struct identity *id);
/* NULL with errno ENOMEM, or EBADMSG when the fields are not those of an
 * identity: a mechanism, a principal that is not empty, SIDs that are valid or
 * a reason why there are none. */
MUST_USE struct identity *identity_unpack(struct unpack *u);

/*
 * The SIDs alone, as SEEN carries and the store keeps them: for each one byte
 * of source, one of length, and the SID.
 */
#define SIDS_PACKED_MAX (IDENTITY_SIDS_MAX * (2 + SID_BYTES_MAX))
void sids_pack(struct pack *k, const struct identity_sid *sid, size_t n);
/* The next of them; false at the end, or with *packed not empty when what is
 * left is not such a list.  *packed moves on. */
bool sids_next(struct slice *packed, struct identity_sid *sid_r);
/* How many there are; -EINVAL when it is no such list or above
 * IDENTITY_SIDS_MAX. */
MUST_USE int sids_count(struct slice packed);

/* Is it one SID, exactly?  At least one subauthority (MS-DTYP 2.4.2.1). */
bool sid_valid(const uint8_t *bytes, size_t len);

/*
 * Text "S-1-5-21-…" to binary.  Decimal or 0x authority as in MS-DTYP 2.4.2.1.
 * The length (8 + 4n), or -EINVAL.
 */
MUST_USE int sid_parse(struct slice text, uint8_t bytes_r[SID_BYTES_MAX]);
/* Binary to canonical text.  0, or -EINVAL with text_r "". */
MUST_USE int sid_text(const uint8_t *bytes, size_t len,
		      char text_r[SID_TEXT_MAX]);

#endif
