/*
 * dirname: names of accounts and groups as people write them, and as a
 * directory is asked for them.  Pure: no network.
 */
#ifndef RMS_CTL_DIRNAME_H
#define RMS_CTL_DIRNAME_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

#define DIRNAME_ERR_MAX 512
/* Bytes of a name, with its NUL; a filter has at most three for each. */
#define DIRNAME_MAX   1024
#define DIRFILTER_MAX (4 * 3 * DIRNAME_MAX)
/* A SID's text: 15 numbers of 10 digits. */
#define DIRSID_MAX 192

enum dirname_form {
	DIRNAME_SAM,	 /* EXCH01$ */
	DIRNAME_NETBIOS, /* CONTOSO\EXCH01$ */
	DIRNAME_UPN,	 /* jo@contoso.test, also sAMAccountName@realm */
	DIRNAME_DN,	 /* CN=...,DC=contoso,DC=test */
};

struct dirname {
	enum dirname_form form;
	char domain[256]; /* in front of the backslash, behind the @; or "" */
	char name[DIRNAME_MAX];
};

/* Does it stand for itself, so that no directory is needed?  A SID, a
 * certificate, or name@REALM, which is a Kerberos principal. */
bool dirname_is_plain(const char *text);

/* 0, or -EINVAL with a line in err. */
MUST_USE int dirname_parse(const char *text, struct dirname *n_r,
			   char err[DIRNAME_ERR_MAX]);

/*
 * Appends s as the value of an assertion (RFC 4515 section 3): what is not a
 * letter, digit or one of " -_.$" as \XX, so that nothing of it is a filter's
 * syntax, whatever it is.
 */
void dirfilter_value(struct sbuf *b, struct slice s);
/* The whole filter that finds this name among all that have a SID. */
void dirfilter_name(struct sbuf *b, const struct dirname *n);
/* Accounts that are members of the group, directly or through others, or
 * whose primary group it is. */
void dirfilter_members(struct sbuf *b, const char *dn, const char *sid);

/* Bytes as in objectSid (MS-DTYP 2.4.2.2) to text.  0 or -EINVAL. */
MUST_USE int dirsid_text(const void *bytes, size_t len,
			 char text_r[DIRSID_MAX]);
/* "DC=contoso,DC=test" at the end of a DN as "contoso.test"; "" none. */
void dirname_domain_of(const char *dn, char domain_r[256]);

#endif
