/*
 * Purpose: the elements of an envelope that is looked into: namespaces, the
 *          operation's element, items.
 *
 * Runs in: relay.
 * Trusts:  nobody: the text is a client's or the cloud's.
 * Touches: nothing but its arguments.
 * Failure: "not to be read", with one of a few reasons.
 */
#include "worker/relay/soap_priv.h"

#include "shm/base/log.h"

#define NS_SOAP_11 "http://schemas.xmlsoap.org/soap/envelope/"
#define NS_SOAP_12 "http://www.w3.org/2003/05/soap-envelope"
#define NS_DRM	   "http://microsoft.com/DRM/"

#define FIRST_DEPTH 3 /* within the first element */

const char *
soap_unread_name(enum soap_unread u)
{
	static const char *const name[SOAP_UNREAD_MAX] = {
	    [SOAP_READ] = "",
	    [SOAP_CODED] = "coded",
	    [SOAP_ENCODING] = "encoding",
	    [SOAP_DOCTYPE] = "doctype",
	    [SOAP_MALFORMED] = "malformed",
	    [SOAP_NO_SOAP] = "no-soap",
	    [SOAP_LIMIT] = "limit",
	    [SOAP_UNEXPECTED] = "unexpected",
	};

	return name[u];
}

void
soap_init(struct soap *s)
{
	/* the buffers need no clearing */
	memset(s, 0, offsetof(struct soap, token));
	s->fresh = true;
}

void
soap_stop(struct soap *s, enum soap_unread why)
{
	s->state = SOAP_DONE;
	s->unread = (uint8_t)why;
}

struct slice
soap_local(struct slice name)
{
	const char *colon = memchr(name.p, ':', name.len);

	if (colon == NULL)
		return name;
	return (struct slice){colon + 1,
			      name.len - (size_t)(colon + 1 - name.p)};
}

/* ---- namespaces ------------------------------------------------------ */

static enum soap_ns
soap_ns_of(struct slice v)
{
	const size_t drm = sizeof(NS_DRM) - 1;

	if (slice_is(v, NS_SOAP_11))
		return SOAP_NS_11;
	if (slice_is(v, NS_SOAP_12))
		return SOAP_NS_12;
	if (v.len > drm && memcmp(v.p, NS_DRM, drm) == 0)
		return SOAP_NS_DRM;
	return SOAP_NS_OTHER;
}

/* Index of the declaration in force; nns when there is none. */
static size_t
soap_decl_find(const struct soap *s, struct slice prefix)
{
	for (size_t i = s->nns; i-- > 0;)
		if (s->decl[i].len == prefix.len &&
		    memcmp(s->decl[i].prefix, prefix.p, prefix.len) == 0)
			return i;
	return s->nns;
}

static enum soap_ns
soap_resolve(const struct soap *s, struct slice name)
{
	struct slice local = soap_local(name);
	size_t n = (size_t)(local.p - name.p), i;

	i = soap_decl_find(s, (struct slice){name.p, n == 0 ? 0 : n - 1});
	return i == s->nns ? SOAP_NS_OTHER : (enum soap_ns)s->decl[i].ns;
}

/* xmlns:prefix="value" of the tag that is being read; the prefix was kept in
 * the first free place.  Of others only those that hide one of ours count. */
void
soap_declare(struct soap *s, struct slice value, bool whole)
{
	const struct slice prefix = {s->decl[s->nns].prefix,
				     s->decl[s->nns].len};
	enum soap_ns ns = whole ? soap_ns_of(value) : SOAP_NS_OTHER;

	if (ns == SOAP_NS_OTHER && soap_decl_find(s, prefix) == s->nns)
		return;
	s->decl[s->nns].ns = (uint8_t)ns;
	s->decl[s->nns].depth = (uint8_t)(s->depth + 1);
	s->nns++;
}

static void
soap_undeclare(struct soap *s)
{
	while (s->nns > 0 && s->decl[s->nns - 1].depth > s->depth)
		s->nns--;
}

bool
soap_attribute(struct soap *s, struct slice name)
{
	struct slice prefix = {"", 0};

	if (s->stage == STAGE_COUNT)
		return slice_is(soap_local(name), "nil");
	if (name.len < 5 || memcmp(name.p, "xmlns", 5) != 0)
		return false;
	if (name.len > 5) {
		if (name.p[5] != ':')
			return false;
		prefix = (struct slice){name.p + 6, name.len - 6};
	}
	if (prefix.len > SOAP_PREFIX_MAX || s->nns == SOAP_NS_MAX) {
		soap_stop(s, SOAP_LIMIT);
		return false;
	}
	memcpy(s->decl[s->nns].prefix, prefix.p, prefix.len);
	s->decl[s->nns].len = (uint8_t)prefix.len;
	return true;
}

/* ---- elements -------------------------------------------------------- */

/* The next name of the path, when all open elements are of it. */
static bool
soap_is_next(const struct soap *s, struct slice local)
{
	const char *want = s->what->path + s->path[s->matched];
	size_t n = (size_t)(s->path[s->matched + 1] - s->path[s->matched] - 1);

	return local.len == n && memcmp(local.p, want, n) == 0;
}

static bool
soap_on_path(const struct soap *s)
{
	return s->depth == FIRST_DEPTH + (uint32_t)s->matched &&
	       s->matched < s->npath;
}

bool
soap_name_matters(const struct soap *s)
{
	switch ((enum soap_stage)s->stage) {
	case STAGE_ENVELOPE:
	case STAGE_FIRST:
		return true;
	case STAGE_BODY:
		return s->depth == 1;
	case STAGE_COUNT:
		break;
	}
	return s->marking || soap_on_path(s);
}

enum soap_at
soap_counted_name(struct soap *s, struct slice name)
{
	struct slice local = soap_local(name);

	s->hit = soap_on_path(s) && soap_is_next(s, local);
	s->mark_hit = s->marking && slice_is(local, s->what->mark);
	if (s->mark_hit && s->what->nil) {
		s->nil = false;
		return AT_TAG;
	}
	return AT_SKIP;
}

static void
soap_item_begins(struct soap *s, bool empty)
{
	if (s->matched + 1 == s->npath) {
		s->items++;
		s->marking = !empty && s->what->mark[0] != '\0';
	}
	s->matched = (uint8_t)(s->matched + !empty);
}

/* Envelope, Body or first element, or what stands in Body's place. */
static void
soap_named(struct soap *s, bool empty)
{
	const struct slice name = {s->name, s->name_len};
	struct slice local = soap_local(name);
	enum soap_ns ns = soap_resolve(s, name);

	if (s->stage == STAGE_ENVELOPE) {
		if (!slice_is(local, "Envelope") ||
		    (ns != SOAP_NS_11 && ns != SOAP_NS_12))
			soap_stop(s, SOAP_NO_SOAP);
		s->ns = (uint8_t)ns;
		s->stage = STAGE_BODY;
	} else if (s->stage == STAGE_FIRST) {
		s->first_ns = (uint8_t)ns;
		s->state = SOAP_FIRST;
		s->stage = STAGE_COUNT;
	} else if (slice_is(local, "Body") && ns == s->ns) {
		s->stage = STAGE_FIRST;
		if (empty)
			soap_stop(s, SOAP_NO_SOAP);
	}
}

void
soap_opened(struct soap *s, bool empty)
{
	if (s->stage == STAGE_COUNT && !s->hit && !s->mark_hit) {
		s->at = AT_TEXT;
		s->depth += !empty;
		if (s->depth > SOAP_DEPTH_MAX)
			soap_stop(s, SOAP_LIMIT);
		return;
	}
	if (s->stage < STAGE_COUNT && soap_name_matters(s))
		soap_named(s, empty);
	if (s->mark_hit && (!s->what->nil || s->nil)) {
		s->marked++;
		s->marking = false;
	}
	if (s->hit)
		soap_item_begins(s, empty);
	s->hit = s->mark_hit = false;
	s->at = AT_TEXT;
	s->depth += !empty;
	if (s->stage < STAGE_COUNT)
		soap_undeclare(s);
	if (s->depth == 0 && s->state == SOAP_READING)
		soap_stop(s, SOAP_NO_SOAP);
	if (s->depth > SOAP_DEPTH_MAX)
		soap_stop(s, SOAP_LIMIT);
}

void
soap_closed(struct soap *s)
{
	s->at = AT_TEXT;
	if (s->depth == 0) {
		soap_stop(s, SOAP_MALFORMED);
		return;
	}
	s->depth--;
	if (s->stage == STAGE_COUNT) {
		if (s->depth < FIRST_DEPTH)
			soap_stop(s, SOAP_READ);
		else if (s->depth < FIRST_DEPTH + (uint32_t)s->matched) {
			s->matched--;
			s->marking = false;
		}
		return;
	}
	soap_undeclare(s);
	/* the Body or the Envelope, with nothing in it */
	if (s->depth == 0 || (s->stage == STAGE_FIRST && s->depth < 2))
		soap_stop(s, SOAP_NO_SOAP);
}

struct slice
soap_first(const struct soap *s)
{
	return soap_local((struct slice){s->name, s->name_len});
}

void
soap_count(struct soap *s, const struct soap_path *what)
{
	const char *p = what->path;

	BUG_ON(s->state != SOAP_FIRST);
	s->what = what;
	s->matched = s->npath = 0;
	s->path[0] = 0;
	for (size_t i = 0;; i++) {
		if (p[i] != '/' && p[i] != '\0')
			continue;
		BUG_ON(s->npath == SOAP_PATH_MAX);
		s->path[++s->npath] = (uint8_t)(i + 1);
		if (p[i] == '\0')
			break;
	}
	s->state = SOAP_READING;
	if (s->depth < FIRST_DEPTH) /* it is empty: <AcquireLicense/> */
		soap_stop(s, SOAP_READ);
}
