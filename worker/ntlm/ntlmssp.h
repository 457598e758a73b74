/*
 * ntlmssp: what can be read of an NTLM message without a key.
 *
 * A bounded reader of MS-NLMP 2.2.1: which message it is, and of the last one
 * (AUTHENTICATE) the version of the response, whether there is a name at all,
 * and from the pairs of an NTLMv2 response (2.2.2.7) the channel binding and
 * the service that the client meant.  Those pairs are what the response proves,
 * so after the mechanism has said yes they are the client's own words; before
 * that they are facts for a choice and a message, not for a decision.
 *
 * It never allocates; slices borrow from the message.
 */
#ifndef RMS_NTLMSSP_H
#define RMS_NTLMSSP_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define NTLMSSP_BINDING_BYTES 16 /* MD5, MS-NLMP 2.2.2.1 */
#define NTLMSSP_NAME_MAX      256

enum ntlmssp_kind {
	NTLMSSP_BAD = 0, /* not to be read; why says where it stopped */
	NTLMSSP_NEGOTIATE = 1,
	NTLMSSP_CHALLENGE = 2,
	NTLMSSP_AUTHENTICATE = 3, /* the members below are set */
};

struct ntlmssp {
	enum ntlmssp_kind kind;
	const char *why; /* NTLMSSP_BAD: static text */

	bool anonymous;	  /* no name, no response, or so flagged */
	bool v2;	  /* of the response */
	bool has_binding; /* and it is not the empty one (all zero) */
	uint8_t binding[NTLMSSP_BINDING_BYTES];
	/* As the client says: "DOMAIN\user" (or "user"), and the service
	 * "HTTP/name" of an NTLMv2 response; "" when not given or not to be
	 * written in UTF-8. */
	char account[2 * NTLMSSP_NAME_MAX];
	char target[NTLMSSP_NAME_MAX];
};

void ntlmssp_read(struct ntlmssp *r, struct slice message);

/*
 * The hash of one of our channel bindings as NTLM carries it: MD5 over the
 * RFC 2744 structure with no addresses (MS-NLMP 2.2.2.1).  0, or -ENOTSUP
 * when the library has no MD5.
 */
MUST_USE int ntlmssp_binding(struct slice data,
			     uint8_t out_r[NTLMSSP_BINDING_BYTES]);

#endif
