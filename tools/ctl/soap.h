/*
 * soap: just enough of SOAP to ask and to see what came back.
 *
 * Answers are scanned, not parsed: an element is found by its local name
 * wherever it is.  That is enough for a diagnosis and needs no XML library on
 * the operator's host.
 */
#ifndef RMS_CTL_SOAP_H
#define RMS_CTL_SOAP_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

/*
 * The next element with this local name at or after *pos; *pos moves behind
 * its start tag.  content_r is what stands up to its end tag, tag_r the start
 * tag with its attributes (may be NULL).  False when there is none (or it does
 * not end).
 */
bool soap_element(struct slice xml, const char *name, size_t *pos,
		  struct slice *content_r, struct slice *tag_r);
/* Content of the first one; empty when there is none. */
struct slice soap_first(struct slice xml, const char *name);
/* How many there are. */
size_t soap_count(struct slice xml, const char *name);
/* Value of an attribute in a start tag; empty when there is none. */
struct slice soap_attr(struct slice tag, const char *name);
/* Text with its entities replaced. */
void soap_text(struct sbuf *out, struct slice text);

/*
 * A SOAP 1.1 request: operation of service with this content.  versions: with
 * a VersionData header.  out->cut when it does not fit.
 */
void soap_envelope(struct sbuf *out, const char *service, const char *operation,
		   const char *content, bool versions);

#endif
