/*
 * keytab: the parts of the verb `keytab`.
 *
 * The facts are one JSON object: the connector's reply (docs/CONTROL.md), with
 * what was asked elsewhere added to it:
 *
 *	names[]		DNS names of the listeners' certificates
 *	unread[]	certificates that could not be read, "FILE: why"
 *	realms[]	realm, asked_as (null: nobody), clock_ahead_ms of the
 *			KDC and clock_within_ms (both null: not known), error
 *			(null: none)
 *	issued[]	principal, kvno, enctype and, where the caller may
 *			read the keytab, opens: its key opens the ticket; or
 *			error
 */
#ifndef RMS_CTL_KEYTAB_H
#define RMS_CTL_KEYTAB_H

#include <stdbool.h>
#include <time.h>

#include <jansson.h>

#include "shm/base/bug.h"

/* Clocks may differ by five minutes, krb5's default; what has drifted so far
 * goes on. */
#define KEYTAB_DRIFT_MS 60000
#define KEYTAB_SKEW_MS	300000
/* A service's ticket lives ten hours in Active Directory and a day in MIT
 * Kerberos, unless the realm says otherwise. */
#define KEYTAB_LIFE_S 86400

/* The realm of a principal's text; "" when it has none. */
const char *keytab_realm(const char *principal);
/* Members of a list whose principal is this. */
const json_t *keytab_issued(const json_t *facts, const char *principal);
/* Name of an encryption type, or its number as text. */
void keytab_enctype(int enctype, char *out, size_t size);

/* Adds names and unread. */
void keytab_ask_certificates(json_t *facts);
/* Adds realms and issued: asks the KDCs with the caller's tickets, else with a
 * key of the keytab when the caller may read it. */
void keytab_ask_kdc(json_t *facts);

/*
 * What is wrong, in lines "what; what would do", each passed to say() (may be
 * NULL).  The number of lines.
 */
size_t keytab_problems(const json_t *facts,
		       void (*say)(void *arg, const char *line), void *arg);
/* Likewise what is worth knowing: what could not be asked, old keys. */
size_t keytab_notes(const json_t *facts, time_t now,
		    void (*say)(void *arg, const char *line), void *arg);

#endif
