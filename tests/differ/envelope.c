/*
 * Purpose: an envelope as soap.c and as expat see it.
 *
 * Runs in: tests.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: BUG without memory.
 */
#include "tests/differ/envelope.h"

#include <expat.h>

#include "shm/base/log.h"

/* Between a namespace and a local name: in no value, which have blanks in its
 * place. */
#define SEPARATOR '\n'

/* ---- ours ------------------------------------------------------------- */

void
envelope_ours(struct envelope *e, const struct soap_path *what, const char *p,
	      size_t len)
{
	struct soap s;
	size_t at;

	*e = (struct envelope){.well_formed = true};
	soap_init(&s);
	at = soap_feed(&s, p, len);
	if (s.state == SOAP_FIRST) {
		e->found = true;
		str_cut(e->first, sizeof(e->first), soap_first(&s));
		soap_count(&s, what);
		soap_feed(&s, p + at, len - at);
	}
	e->unread = (enum soap_unread)s.unread;
	e->ns = (enum soap_ns)s.ns;
	e->first_ns = (enum soap_ns)s.first_ns;
	e->items = s.items;
	e->marked = s.marked;
}

/* ---- expat ------------------------------------------------------------ */

struct reader {
	struct envelope *e;
	const struct soap_path *what;
	uint32_t depth;	  /* elements that are open */
	uint32_t matched; /* of them, those of the path, from the first on */
	bool in_body, over, marked;
};

static struct slice
local_of(const char *name)
{
	const char *sep = strrchr(name, SEPARATOR);

	return slice_of(sep == NULL ? name : sep + 1);
}

static enum soap_ns
ns_of(const char *name)
{
	static const char drm[] = "http://microsoft.com/DRM/";
	const char *sep = strrchr(name, SEPARATOR);
	struct slice ns = {name, sep == NULL ? 0 : (size_t)(sep - name)};

	if (slice_is(ns, "http://schemas.xmlsoap.org/soap/envelope/"))
		return SOAP_NS_11;
	if (slice_is(ns, "http://www.w3.org/2003/05/soap-envelope"))
		return SOAP_NS_12;
	/* longer ones are none of ours */
	if (ns.len > sizeof(drm) - 1 && ns.len <= SOAP_TOKEN_MAX &&
	    memcmp(ns.p, drm, sizeof(drm) - 1) == 0)
		return SOAP_NS_DRM;
	return SOAP_NS_OTHER;
}

/* The n'th name of the path; empty behind its end. */
static struct slice
step_of(const char *path, uint32_t n)
{
	size_t len;

	for (;; n--) {
		len = strcspn(path, "/");
		if (n == 0 || path[len] == '\0')
			break;
		path += len + 1;
	}
	return n == 0 ? (struct slice){path, len} : (struct slice){"", 0};
}

static bool
is_null(const char **atts)
{
	for (; *atts != NULL; atts += 2)
		if (slice_is(local_of(atts[0]), "nil") &&
		    (strcmp(atts[1], "true") == 0 || strcmp(atts[1], "1") == 0))
			return true;
	return false;
}

/* Below the first element. */
static void
count_one(struct reader *r, const char *name, const char **atts)
{
	struct slice local = local_of(name);
	bool within = step_of(r->what->path, r->matched).len == 0;

	if (within) {
		if (!r->marked && r->what->mark[0] != '\0' &&
		    slice_is(local, r->what->mark) &&
		    (!r->what->nil || is_null(atts))) {
			r->e->marked++;
			r->marked = true;
		}
		return;
	}
	if (r->depth != 3 + r->matched ||
	    !slice_eq(local, step_of(r->what->path, r->matched)))
		return;
	r->matched++;
	if (step_of(r->what->path, r->matched).len == 0) {
		r->e->items++;
		r->marked = false;
	}
}

static void
on_start(void *arg, const char *name, const char **atts)
{
	struct reader *r = arg;
	struct envelope *e = r->e;
	struct slice local = local_of(name);

	if (r->depth == 0) {
		e->ns = ns_of(name);
		r->over = !slice_is(local, "Envelope") ||
			  (e->ns != SOAP_NS_11 && e->ns != SOAP_NS_12);
	} else if (r->depth == 1 && !r->over) {
		r->in_body = slice_is(local, "Body") && ns_of(name) == e->ns;
	} else if (r->depth == 2 && r->in_body && !r->over) {
		e->found = true;
		e->first_ns = ns_of(name);
		str_cut(e->first, sizeof(e->first), local);
	} else if (r->depth > 2 && e->found && !r->over) {
		count_one(r, name, atts);
	}
	r->depth++;
}

static void
on_end(void *arg, const char *name)
{
	struct reader *r = arg;

	(void)name;
	r->depth--;
	if (r->depth < 3 && r->e->found)
		r->over = true; /* the first element */
	else if (r->depth == 1 && r->in_body)
		r->over = true; /* a Body with nothing in it */
	else if (r->matched > 0 && r->depth < 3 + r->matched)
		r->matched--;
}

static void
on_doctype(void *arg, const char *name, const char *sys, const char *pub,
	   int internal)
{
	struct reader *r = arg;

	(void)name;
	(void)sys;
	(void)pub;
	(void)internal;
	r->e->doctype = true;
}

static void
on_declaration(void *arg, const char *version, const char *encoding, int alone)
{
	struct reader *r = arg;

	(void)version;
	(void)alone;
	if (encoding != NULL)
		r->e->utf8 = slice_iis(slice_of(encoding), "utf-8") ||
			     slice_iis(slice_of(encoding), "us-ascii");
}

void
envelope_theirs(struct envelope *e, const struct soap_path *what, const char *p,
		size_t len)
{
	XML_Parser x = XML_ParserCreateNS(NULL, SEPARATOR);
	struct reader r = {.e = e, .what = what};

	BUG_ON(x == NULL);
	*e = (struct envelope){.utf8 = true};
	e->references = memchr(p, '&', len) != NULL;
	XML_SetUserData(x, &r);
	XML_SetElementHandler(x, on_start, on_end);
	XML_SetStartDoctypeDeclHandler(x, on_doctype);
	XML_SetXmlDeclHandler(x, on_declaration);
	e->well_formed = XML_Parse(x, p, (int)len, 1) == XML_STATUS_OK;
	XML_ParserFree(x);
	if (memchr(p, '\0', len) != NULL)
		e->utf8 = false; /* UTF-16, else it were not well-formed */
}

/* ---- the two ---------------------------------------------------------- */

/* Had ours a reason to leave it alone? */
static bool
unread_is_right(enum soap_unread why, const struct envelope *theirs)
{
	switch (why) {
	case SOAP_ENCODING:
		return !theirs->utf8;
	case SOAP_DOCTYPE:
		return theirs->doctype;
	case SOAP_NO_SOAP:
		return !theirs->found || theirs->references;
	case SOAP_LIMIT: /* more declarations than are kept cannot be told */
		return true;
	case SOAP_MALFORMED:
	case SOAP_CODED:
	case SOAP_UNEXPECTED:
	case SOAP_READ:
	case SOAP_UNREAD_MAX:
		break;
	}
	return false;
}

const char *
envelope_way(const struct envelope *ours, const struct envelope *theirs)
{
	if (!theirs->well_formed)
		return NULL;
	if (ours->unread != SOAP_READ)
		return unread_is_right(ours->unread, theirs)
			   ? NULL
			   : soap_unread_name(ours->unread);
	if (ours->found != theirs->found)
		return "found";
	if (ours->ns != theirs->ns)
		return "namespace";
	if (ours->first_ns != theirs->first_ns)
		return "namespace of the first element";
	if (strcmp(ours->first, theirs->first) != 0)
		return "first element";
	if (ours->items != theirs->items)
		return "items";
	return ours->marked != theirs->marked ? "marked" : NULL;
}
