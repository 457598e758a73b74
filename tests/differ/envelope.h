/*
 * envelope: the same text looked into by soap.c and read by expat, a parser of
 * XML, and what each finds.
 *
 * Ours may leave a text alone, for the reasons that soap.h gives.  Of what is
 * well-formed and what it does look into, it must say what expat says.
 */
#ifndef RMS_ENVELOPE_H
#define RMS_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/relay/soap.h"

struct envelope {
	bool well_formed;	 /* theirs */
	bool doctype;		 /* theirs */
	bool references;	 /* a "&" is in the text */
	bool utf8;		 /* theirs: declared so, or by default */
	enum soap_unread unread; /* ours */
	bool found;		 /* there is a first element in a Body */
	enum soap_ns ns, first_ns;
	char first[256]; /* its local name, cut */
	uint32_t items, marked;
};

void envelope_ours(struct envelope *e, const struct soap_path *what,
		   const char *p, size_t len);
void envelope_theirs(struct envelope *e, const struct soap_path *what,
		     const char *p, size_t len);

/* In what they differ without a reason; NULL when they do not. */
const char *envelope_way(const struct envelope *ours,
			 const struct envelope *theirs);

#endif
