/*
 * Purpose: read out of a keytab, and of what KDC and certificates say beside
 *          it, what is wrong and what would do.
 *
 * Runs in: rmsctl.
 * Trusts:  nobody.
 * Touches: nothing.
 * Failure: a member that is missing counts as what it says when it is empty.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/date.h"
#include "tools/ctl/jget.h"
#include "tools/ctl/keytab.h"
#include "tools/ctl/text.h"

#include "shm/base/enctype.h"
#include "shm/base/log.h"

struct lines {
	void (*say)(void *arg, const char *line);
	void *arg;
	size_t n;
};

PRINTF(2, 3)
static void
add(struct lines *l, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	l->n++;
	if (l->say == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	l->say(l->arg, line);
}

static int
get_int(const json_t *o, const char *key)
{
	return (int)json_integer_value(json_object_get(o, key));
}

static const char *
name_of(const json_t *e)
{
	return jget_str(e, "principal");
}

const char *
keytab_realm(const char *principal)
{
	const char *at = strrchr(principal, '@');

	return at == NULL ? "" : at + 1;
}

const json_t *
keytab_issued(const json_t *facts, const char *principal)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(facts, "issued"), i,
			   o) if (strcmp(name_of(o), principal) == 0) return o;
	return NULL;
}

void
keytab_enctype(int enctype, char *out, size_t size)
{
	const char *name = enctype_name(enctype);

	if (name != NULL)
		snprintf(out, size, "%s", name);
	else
		snprintf(out, size, "type %d", enctype);
}

/* --- the keys by themselves ------------------------------------------------
 */

/* Is this the first entry of its principal? */
static bool
is_first(const json_t *list, size_t at)
{
	const char *name = name_of(json_array_get(list, at));

	for (size_t i = 0; i < at; i++)
		if (strcmp(name_of(json_array_get(list, i)), name) == 0)
			return false;
	return true;
}

static uint64_t
newest(const json_t *list, const char *principal)
{
	uint64_t kvno = 0;
	const json_t *e;
	size_t i;

	json_array_foreach(list, i, e) if (strcmp(name_of(e), principal) == 0)
	    kvno = MAX(kvno, jget_u64(e, "kvno"));
	return kvno;
}

static bool
has_key(const json_t *list, const char *principal, uint64_t kvno, int enctype)
{
	const json_t *e;
	size_t i;

	json_array_foreach(list, i,
			   e) if (strcmp(name_of(e), principal) == 0 &&
				  jget_u64(e, "kvno") == kvno &&
				  get_int(e, "enctype") == enctype) return true;
	return false;
}

static void
check_types(struct lines *l, const json_t *list)
{
	const json_t *e, *o;
	size_t i, k;

	json_array_foreach(list, i, e)
	{
		bool strong = false;

		if (!is_first(list, i))
			continue;
		json_array_foreach(list, k,
				   o) if (strcmp(name_of(o), name_of(e)) == 0)
		    strong |= !enctype_is_weak(get_int(o, "enctype"));
		if (!strong)
			add(l,
			    "%s has RC4 or DES keys only, which anybody who "
			    "records a ticket can set out to break; allow AES "
			    "on its account (Active Directory: "
			    "msDS-SupportedEncryptionTypes 24), set its "
			    "password anew, export the keytab again",
			    name_of(e));
	}
}

static void
check_duplicates(struct lines *l, const json_t *list)
{
	const json_t *e, *o;
	char type[64];
	size_t i;

	json_array_foreach(list, i, e)
	{
		for (size_t k = 0; k < i; k++) {
			o = json_array_get(list, k);
			if (strcmp(name_of(o), name_of(e)) != 0 ||
			    jget_u64(o, "kvno") != jget_u64(e, "kvno") ||
			    get_int(o, "enctype") != get_int(e, "enctype"))
				continue;
			keytab_enctype(get_int(e, "enctype"), type,
				       sizeof(type));
			add(l,
			    "%s kvno %" PRIu64 " %s is there twice, with %s; "
			    "export the keytab into a new file",
			    name_of(e), jget_u64(e, "kvno"), type,
			    strcmp(jget_str(o, "key"), jget_str(e, "key")) == 0
				? "the same key"
				: "different keys, of which only one can be "
				  "right");
			break;
		}
	}
}

/* Is there a key for HTTP/<name>, in whatever realm? */
static bool
has_http(const json_t *list, const char *name)
{
	size_t len = strlen(name), i;
	const json_t *e;

	json_array_foreach(list, i, e)
	{
		const char *p = name_of(e);

		if (strncasecmp(p, "HTTP/", 5) == 0 &&
		    (len == 0 ||
		     (strncasecmp(p + 5, name, len) == 0 && p[5 + len] == '@')))
			return true;
	}
	return false;
}

static void
check_names(struct lines *l, const json_t *facts, const json_t *list)
{
	const json_t *o;
	size_t i;

	if (!has_http(list, "")) {
		add(l, "there is no key for any HTTP/<name>; give the "
		       "connector's account the SPN HTTP/<name that clients "
		       "use> and export the keytab again");
		return;
	}
	json_array_foreach(json_object_get(facts, "names"), i, o)
	{
		const char *name = json_string_value(o);

		if (name != NULL && !has_http(list, name))
			add(l,
			    "there is no key for HTTP/%s, a name of the "
			    "connector's certificate: clients that use it "
			    "cannot log on; give the account that SPN and "
			    "export the keytab again, or leave the name out of "
			    "the certificate",
			    name);
	}
}

/* --- beside what the KDC issues --------------------------------------------
 */

static void
check_issued(struct lines *l, const json_t *list, const json_t *o)
{
	uint64_t kvno = jget_u64(o, "kvno");
	int enctype = get_int(o, "enctype");
	char type[64];

	if (json_object_get(o, "kvno") == NULL) {
		add(l,
		    "the KDC issues no ticket for %s: %s; register the SPN on "
		    "the connector's account (Active Directory: setspn -S), or "
		    "take the key out of the keytab",
		    name_of(o), jget_str(o, "error"));
		return;
	}
	keytab_enctype(enctype, type, sizeof(type));
	if (has_key(list, name_of(o), kvno, enctype)) {
		if (json_is_false(json_object_get(o, "opens")))
			add(l,
			    "the key for %s kvno %" PRIu64 " %s does not open "
			    "the KDC's tickets: clients are refused "
			    "(WRONG_KEY); export the keytab again, and look "
			    "for the SPN on a second account",
			    name_of(o), kvno, type);
		return;
	}
	if (newest(list, name_of(o)) == kvno)
		add(l,
		    "the KDC issues tickets for %s with %s, and the keytab has "
		    "no key of that type in version %" PRIu64
		    "; export it again with all types of the account",
		    name_of(o), type, kvno);
	else
		add(l,
		    "the KDC issues tickets for %s with kvno %" PRIu64
		    " (%s), and the newest in the keytab is kvno %" PRIu64
		    ": new clients are refused; the password was changed after "
		    "the keytab was made, export it again",
		    name_of(o), kvno, type, newest(list, name_of(o)));
}

static void
check_clock(struct lines *l, const json_t *r)
{
	const json_t *ahead = json_object_get(r, "clock_ahead_ms");
	json_int_t ms = json_integer_value(ahead);
	json_int_t far = ms < 0 ? -ms : ms;

	if (!json_is_integer(ahead) || far < KEYTAB_DRIFT_MS)
		return;
	add(l,
	    "this host's clock is %" PRId64 ".%03d s %s the KDC's of %s%s; "
	    "synchronise it (NTP)",
	    (int64_t)(far / 1000), (int)(far % 1000),
	    ms < 0 ? "ahead of" : "behind", jget_str(r, "realm"),
	    far >= KEYTAB_SKEW_MS
		? ": clients are refused (CLOCK_SKEW), unless krb5.conf sets a "
		  "larger clockskew"
		: ", at five minutes (or what krb5.conf sets as clockskew) "
		  "clients are refused");
}

size_t
keytab_problems(const json_t *facts, void (*say)(void *arg, const char *line),
		void *arg)
{
	const json_t *list = json_object_get(facts, "entries"), *o;
	struct lines l = {say, arg, 0};
	const char *fault = jget_str(facts, "fault");
	size_t i;

	if (jget_str(facts, "file")[0] == '\0')
		add(&l, "no keytab is set: `keytab` in the configuration, with "
			"a key for HTTP/<name>");
	if (fault[0] != '\0')
		add(&l, "%s; until then the last good keytab is in force",
		    fault);
	if (jget_str(facts, "file")[0] == '\0')
		return l.n;
	if (json_array_size(list) != jget_u64(facts, "keeper_entries"))
		add(&l,
		    "the keeper has %" PRIu64 " of %zu keys in force: see its "
		    "log and rmsctl events (3109)",
		    jget_u64(facts, "keeper_entries"), json_array_size(list));
	check_names(&l, facts, list);
	check_types(&l, list);
	check_duplicates(&l, list);
	json_array_foreach(json_object_get(facts, "issued"), i, o)
	    check_issued(&l, list, o);
	json_array_foreach(json_object_get(facts, "realms"), i, o)
	    check_clock(&l, o);
	return l.n;
}

/* --- notes -------------------------------------------------------------------
 */

static const json_t *
use_of(const json_t *facts, const json_t *e)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(facts, "use"), i,
			   o) if (strcasecmp(name_of(o), name_of(e)) == 0 &&
				  jget_u64(o, "kvno") == jget_u64(e, "kvno") &&
				  get_int(o, "enctype") ==
				      get_int(e, "enctype")) return o;
	return NULL;
}

/* The longest that a ticket may still live. */
static uint64_t
longest_life(const json_t *facts)
{
	uint64_t s = KEYTAB_LIFE_S;
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(facts, "use"), i, o) s =
	    MAX(s, jget_u64(o, "longest_life_s"));
	return s;
}

/* The version that new tickets have: the KDC's word, or the newest. */
static uint64_t
version_now(const json_t *facts, const char *principal)
{
	const json_t *o = keytab_issued(facts, principal);

	if (o != NULL && jget_u64(o, "kvno") != 0)
		return jget_u64(o, "kvno");
	return newest(json_object_get(facts, "entries"), principal);
}

/* Seconds of a time in the reply; 0 for null. */
static uint64_t
seconds(const json_t *o, const char *key)
{
	uint64_t s = 0;

	return date_parse(jget_str(o, key), &s) == 0 ? s : 0;
}

static void
note_old_key(struct lines *l, const json_t *facts, const json_t *e, time_t now)
{
	uint64_t life = longest_life(facts), at = (uint64_t)now;
	uint64_t since = seconds(facts, "use_since"), last;
	const json_t *use = use_of(facts, e);
	char quiet[TEXT_MAX], lives[TEXT_MAX], type[64];
	bool safe;

	last = use != NULL ? seconds(use, "last") : since;
	safe = last != 0 && last + life < at;
	text_duration(quiet, at > last ? at - last : 0);
	text_duration(lives, life);
	keytab_enctype(get_int(e, "enctype"), type, sizeof(type));
	add(l, "old key: %s kvno %" PRIu64 " %s, %s %s (%s ago); %s%s",
	    name_of(e), jget_u64(e, "kvno"), type,
	    use != NULL ? "last used" : "not used since counting began",
	    use != NULL ? jget_str(use, "last") : jget_str(facts, "use_since"),
	    quiet,
	    safe ? "no ticket lives that long, it can be removed from the "
		   "keytab"
		 : "keep it until it is unused for ",
	    safe ? "" : lives);
}

size_t
keytab_notes(const json_t *facts, time_t now,
	     void (*say)(void *arg, const char *line), void *arg)
{
	const json_t *list = json_object_get(facts, "entries"), *o;
	struct lines l = {say, arg, 0};
	size_t i;

	json_array_foreach(list, i, o) if (jget_u64(o, "kvno") <
					   version_now(facts, name_of(o)))
	    note_old_key(&l, facts, o, now);
	json_array_foreach(json_object_get(facts, "realms"), i,
			   o) if (jget_str(o, "error")[0] != '\0')
	    add(&l, "not asked: %s: %s", jget_str(o, "realm"),
		jget_str(o, "error"));
	json_array_foreach(json_object_get(facts, "unread"), i, o) add(
	    &l, "not read: %s", json_is_string(o) ? json_string_value(o) : "?");
	return l.n;
}
