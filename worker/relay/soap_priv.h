/*
 * soap_priv: what soap.c (the text, tag by tag) and soap_element.c (what the
 * tags mean) share with each other and with nobody else.
 */
#ifndef RMS_SOAP_PRIV_H
#define RMS_SOAP_PRIV_H

#include "worker/relay/soap.h"

enum soap_at {
	AT_START,      /* maybe a byte order mark */
	AT_TEXT,       /* between tags */
	AT_LT,	       /* behind "<" */
	AT_BANG,       /* behind "<!", until it is known what it is */
	AT_COMMENT,    /* until "-->" */
	AT_CDATA,      /* until "]]>" */
	AT_PI,	       /* until "?>" */
	AT_DECL,       /* the same, of what a text starts with */
	AT_NAME,       /* in the name of a start tag */
	AT_SKIP,       /* in one that does not matter */
	AT_SKIP_QUOTE, /* in a value in it */
	AT_TAG,	       /* between attributes */
	AT_SLASH,      /* behind the "/" of "/>" */
	AT_ATTR,       /* in the name of an attribute */
	AT_EQUALS,     /* until the quote of its value */
	AT_VALUE,      /* until the other one */
};

/* What is looked for. */
enum soap_stage {
	STAGE_ENVELOPE, /* depth 0 */
	STAGE_BODY,	/* at depth 1 */
	STAGE_FIRST,	/* depth 2 */
	STAGE_COUNT,	/* depth 3 and more */
};

/* A name without its prefix. */
struct slice soap_local(struct slice name);
/* Does the name of a tag matter that starts now? */
bool soap_name_matters(const struct soap *s);
/* Counting: what a name is.  Where to go on. */
enum soap_at soap_counted_name(struct soap *s, struct slice name);
/* Does the value of this attribute matter?  A prefix is kept. */
bool soap_attribute(struct soap *s, struct slice name);
/* The value of such a one; whole: it was not too long. */
void soap_declare(struct soap *s, struct slice value, bool whole);
/* The end of a start tag; the start of an end tag. */
void soap_opened(struct soap *s, bool empty);
void soap_closed(struct soap *s);

#endif
