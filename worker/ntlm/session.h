/*
 * session: NTLM exchanges, as acceptor.
 *
 * An exchange is named by the keeper's number.  It has two legs (NEGOTIATE,
 * then AUTHENTICATE), with SPNEGO sometimes a third.  How many there may be
 * and how long they may take is the keeper's to say, who aborts them.
 *
 * Accepted is only what is complete, by NTLM version 2, with the name of an
 * account that is neither anonymous nor a guest, and whose channel binding, if
 * it brings one, is that of our connection.
 */
#ifndef RMS_NTLM_SESSION_H
#define RMS_NTLM_SESSION_H

#include <gssapi/gssapi.h>

#include "shm/identity.h"
#include "shm/msg.h"

#define SESSION_DETAIL_MAX 768
/* An identity that NTLM gave is good for so long; a ticket lasts longer. */
#define SESSION_IDENTITY_S 3600

struct sessions;

struct session_result {
	enum auth_outcome outcome;
	enum auth_cause cause;
	gss_buffer_desc token; /* to send; freed by session_result_fini() */
	char detail[SESSION_DETAIL_MAX];
	struct identity *identity;	      /* with AUTH_OK; owned */
	char claimed[IDENTITY_PRINCIPAL_MAX]; /* with AUTH_FAILED, "" unknown */
};

/* NULL when out of memory. */
MUST_USE struct sessions *sessions_new(void);
/* Ends every exchange. */
void sessions_free(struct sessions **s);

/* One leg.  Blocks as long as winbind does. */
void session_step(struct sessions *s, uint64_t number,
		  const struct msg_auth_step *m, struct session_result *r);
void session_result_fini(struct session_result *r);

/* Ends one exchange; none is fine. */
void session_abort(struct sessions *s, uint64_t number);

#endif
