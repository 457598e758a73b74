/*
 * Envelopes that are looked into while they pass: the operation's element and
 * its items are found, the same for every way to cut the text in pieces, and
 * what is odd is left alone with a reason.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/soap.h"

#define DECL "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n"
#define S11  "http://schemas.xmlsoap.org/soap/envelope/"
#define S12  "http://www.w3.org/2003/05/soap-envelope"
#define DRM  "http://microsoft.com/DRM/LicensingService"
#define OPEN "<s:Envelope xmlns:s=\"" S11 "\"><s:Body>"
#define SHUT "</s:Body></s:Envelope>"
#define ASK  "<AcquireLicense xmlns=\"" DRM "\">"

static const struct soap_path items = {"RequestParams/AcquireLicenseParams", "",
				       false};
static const struct soap_path licences = {
    "AcquireLicenseResult/AcquireLicenseResponse", "AcquireLicenseException",
    false};
static const struct soap_path templates = {
    "AcquireTemplatesResult/GuidTemplate", "Template", true};

/* All that is said of a text. */
struct said {
	enum soap_state state;
	enum soap_unread unread;
	enum soap_ns ns, first_ns;
	uint32_t items, marked;
	char first[SOAP_TOKEN_MAX + 1];
};

static void
feed(struct soap *s, struct said *r, const struct soap_path *what,
     const char *p, size_t n)
{
	char *copy = malloc(n + 1); /* exact, for ASan */
	size_t at = 0;

	memcpy(copy, p, n);
	copy = realloc(copy, n == 0 ? 1 : n);
	while (at < n && s->state == SOAP_READING) {
		at += soap_feed(s, copy + at, n - at);
		assert_true(at <= n);
		if (s->state != SOAP_FIRST)
			continue;
		str_cut(r->first, sizeof(r->first), soap_first(s));
		if (what == NULL)
			soap_stop(s, SOAP_READ);
		else
			soap_count(s, what);
	}
	free(copy);
}

static void
conclude(struct said *r, const struct soap *s)
{
	r->state = (enum soap_state)s->state;
	r->unread = (enum soap_unread)s->unread;
	r->ns = (enum soap_ns)s->ns;
	r->first_ns = (enum soap_ns)s->first_ns;
	r->items = s->items;
	r->marked = s->marked;
}

/* In pieces that end at a, at b, and every `step` bytes behind. */
static struct said
look_cut(struct slice t, const struct soap_path *what, size_t a, size_t b,
	 size_t step)
{
	struct said r;
	struct soap s;

	memset(&r, 0, sizeof(r));
	memset(&s, 0xaa, sizeof(s));
	soap_init(&s);
	feed(&s, &r, what, t.p, a);
	feed(&s, &r, what, t.p + a, b - a);
	for (size_t i = b; i < t.len; i += step)
		feed(&s, &r, what, t.p + i, MIN(step, t.len - i));
	conclude(&r, &s);
	return r;
}

static void
same(struct slice t, const struct said *want, const struct said *got, size_t a,
     size_t b, size_t step)
{
	if (memcmp(want, got, sizeof(*got)) != 0)
		fail_msg("cut at %zu, %zu and every %zu: state %d not %d, "
			 "unread %d not %d, first %s not %s, items %u not %u, "
			 "marked %u not %u, of %.*s",
			 a, b, step, (int)got->state, (int)want->state,
			 (int)got->unread, (int)want->unread, got->first,
			 want->first, got->items, want->items, got->marked,
			 want->marked, (int)t.len, t.p);
}

/* What is said of it in one piece, checked against every other way. */
static struct said
look_n(struct slice t, const struct soap_path *what)
{
	struct said whole = look_cut(t, what, 0, 0, t.len + 1), r;

	for (size_t a = 0; a <= t.len; a++) {
		r = look_cut(t, what, a, a, t.len + 1);
		same(t, &whole, &r, a, a, t.len + 1);
		r = look_cut(t, what, a, MIN(a + 1, t.len), t.len + 1);
		same(t, &whole, &r, a, a + 1, t.len + 1);
	}
	for (size_t step = 1; step < 9; step++) {
		r = look_cut(t, what, 0, 0, step);
		same(t, &whole, &r, 0, 0, step);
	}
	return whole;
}

static struct said
look(const char *text, const struct soap_path *what)
{
	return look_n(slice_of(text), what);
}

static void
first_is(const char *text, const char *name, enum soap_ns ns)
{
	struct said r = look(text, NULL);

	if (r.unread != SOAP_READ || strcmp(r.first, name) != 0 ||
	    r.first_ns != ns)
		fail_msg("\"%s\" of %d (unread %d), not \"%s\" of %d: %s",
			 r.first, (int)r.first_ns, (int)r.unread, name, (int)ns,
			 text);
}

static void
unread_is(const char *text, enum soap_unread why)
{
	struct said r = look(text, &items);

	if (r.unread != why || r.state != SOAP_DONE)
		fail_msg("unread %d, not %d: %s", (int)r.unread, (int)why,
			 text);
}

static void
count_is(const char *text, const struct soap_path *what, uint32_t n,
	 uint32_t marked)
{
	struct said r = look(text, what);

	if (r.unread != SOAP_READ || r.items != n || r.marked != marked)
		fail_msg("%u items, %u marked, not %u and %u (unread %d): %s",
			 r.items, r.marked, n, marked, (int)r.unread, text);
}

/* ---- the first element ------------------------------------------------- */

static void
test_versions(void **state)
{
	struct said r;

	(void)state;
	r = look(DECL OPEN ASK "</AcquireLicense>" SHUT, NULL);
	assert_string_equal(r.first, "AcquireLicense");
	assert_int_equal(r.ns, SOAP_NS_11);
	assert_int_equal(r.first_ns, SOAP_NS_DRM);
	r = look("\xef\xbb\xbf" DECL "<Envelope xmlns='" S12 "'><Body>" ASK,
		 NULL);
	assert_string_equal(r.first, "AcquireLicense");
	assert_int_equal(r.ns, SOAP_NS_12);
}

static void
test_prefixes(void **state)
{
	(void)state;
	/* declared far out, and on the element itself */
	first_is("<e:Envelope xmlns:e='" S11 "' xmlns:m='" DRM "'><e:Body>"
		 "<m:Certify/>",
		 "Certify", SOAP_NS_DRM);
	first_is("<e:Envelope xmlns:e='" S11 "'><e:Body xmlns:m = '" DRM "'>"
		 "<m:Certify/>",
		 "Certify", SOAP_NS_DRM);
	first_is("<e:Envelope xmlns:e='" S11 "'><e:Body>"
		 "<m:Certify a='b'\n xmlns:m\t=\t'" DRM "' />",
		 "Certify", SOAP_NS_DRM);
	/* two prefixes of one namespace */
	first_is("<e:Envelope xmlns:e='" S11 "' xmlns='" S11 "'><Body>"
		 "<m:Certify xmlns:m='" DRM "'>",
		 "Certify", SOAP_NS_DRM);
	/* hidden, and seen again */
	first_is("<Envelope xmlns='" S11 "'><Header xmlns='x'><Body/></Header>"
		 "<Body><Certify xmlns='" DRM "'>",
		 "Certify", SOAP_NS_DRM);
	first_is("<m:Envelope xmlns:m='" S11 "' xmlns:n='" DRM "'><m:Body>"
		 "<n:Certify xmlns:n='other'>",
		 "Certify", SOAP_NS_OTHER);
	/* of none, of another, and of a longer prefix than is kept */
	first_is(OPEN "<Certify>", "Certify", SOAP_NS_OTHER);
	first_is(OPEN "<Certify xmlns='http://microsoft.com/DRM/'>", "Certify",
		 SOAP_NS_OTHER);
	first_is(OPEN "<m:Certify>", "Certify", SOAP_NS_OTHER);
	unread_is(OPEN "<sixteen.letters.:Certify xmlns:sixteen.letters.='" DRM
		       "'>",
		  SOAP_LIMIT);
	first_is(OPEN "<s:Fault><faultcode>", "Fault", SOAP_NS_11);
}

static void
test_around_tags(void **state)
{
	(void)state;
	first_is("<!-- <s:Body><No> --><?pi <No> ?><s:Envelope xmlns:s='" S11
		 "'><!--a-b-- ><No>--><s:Header><![CDATA[</s:Header><s:Body>"
		 "<No>]]]></s:Header><s:Body> text <?x ><No>?><!----><Certify "
		 "xmlns='" DRM "'>",
		 "Certify", SOAP_NS_DRM);
	/* signs of markup in values */
	first_is("<s:Envelope a='/>' b=\"'><No>\" xmlns:s='" S11
		 "'><s:Header><a b='>' c=\"/\"></a><d e='/'/><f/></s:Header>"
		 "<s:Body c='>'><Certify d='/>' xmlns='" DRM "' e='>'>",
		 "Certify", SOAP_NS_DRM);
	/* a Body is the envelope's child */
	first_is("<s:Envelope xmlns:s='" S11 "'><s:Header><s:Body><No/>"
		 "</s:Body></s:Header><s:Body><Certify xmlns='" DRM "'>",
		 "Certify", SOAP_NS_DRM);
	first_is("<s:Envelope xmlns:s='" S11 "'><Body><No/></Body>"
		 "<s:Body><Certify xmlns='" DRM "'>",
		 "Certify", SOAP_NS_DRM);
}

/* ---- counting ---------------------------------------------------------- */

#define PARAM                                                       \
	"<AcquireLicenseParams><LicenseeCerts><Certificate><XrML/>" \
	"</Certificate></LicenseeCerts></AcquireLicenseParams>"

static void
test_items(void **state)
{
	(void)state;
	count_is(OPEN ASK "<RequestParams>" PARAM
			  "</RequestParams></AcquireLicense>" SHUT,
		 &items, 1, 0);
	count_is(OPEN ASK "<RequestParams>" PARAM PARAM
			  "<AcquireLicenseParams/>" PARAM
			  "<x:AcquireLicenseParams a='>'\n/>"
			  "</RequestParams></AcquireLicense>" SHUT,
		 &items, 5, 0);
	count_is(OPEN ASK "<RequestParams/></AcquireLicense>" SHUT, &items, 0,
		 0);
	count_is(OPEN "<AcquireLicense/>" SHUT, &items, 0, 0);
}

/* What only looks like an item: elsewhere, deeper, in text, behind the end. */
static void
test_no_items(void **state)
{
	(void)state;
	count_is(OPEN ASK "<AcquireLicenseParams/><x><RequestParams>" PARAM
			  "</RequestParams></x>"
			  "<RequestParams><y>" PARAM "</y>"
			  "<AcquireLicenseParams>" PARAM "<RequestParams>" PARAM
			  "</RequestParams></AcquireLicenseParams>"
			  "<!--" PARAM "--><![CDATA[" PARAM "]]>"
			  "<AcquireLicenseParamsX/><AcquireLicenseParam/>"
			  "</RequestParams></AcquireLicense>" PARAM
			  "<AcquireLicense><RequestParams>" PARAM
			  "</RequestParams></AcquireLicense>" SHUT,
		 &items, 1, 0);
}

#define GOOD                                                             \
	"<AcquireLicenseResponse><CertificateChain><Certificate><XrML/>" \
	"</Certificate></CertificateChain></AcquireLicenseResponse>"
#define BAD(s)                                                       \
	"<AcquireLicenseResponse><CertificateChain><Certificate>"    \
	"<AcquireLicenseException xmlns=\"\"><ExceptionString>" s    \
	"</ExceptionString></AcquireLicenseException></Certificate>" \
	"</CertificateChain></AcquireLicenseResponse>"
#define REPLY "<AcquireLicenseResponse xmlns=\"" DRM "\">"

static void
test_failed_items(void **state)
{
	(void)state;
	count_is(OPEN REPLY "<AcquireLicenseResult>" GOOD BAD("x") GOOD BAD("y")
		     GOOD
		 "</AcquireLicenseResult></AcquireLicenseResponse>" SHUT,
		 &licences, 5, 2);
	count_is(OPEN REPLY
		 "<AcquireLicenseResult>" GOOD
		 "</AcquireLicenseResult></AcquireLicenseResponse>" SHUT,
		 &licences, 1, 0);
	/* one item fails once, and nothing outside of items does */
	count_is(OPEN REPLY
		 "<AcquireLicenseException/><AcquireLicenseResult>"
		 "<AcquireLicenseException/><AcquireLicenseResponse>"
		 "<AcquireLicenseException/><a><AcquireLicenseException/></a>"
		 "</AcquireLicenseResponse><AcquireLicenseException/>"
		 "</AcquireLicenseResult></AcquireLicenseResponse>" SHUT,
		 &licences, 1, 1);
}

static void
test_null_items(void **state)
{
	(void)state;
	count_is(OPEN "<AcquireTemplatesResponse xmlns='" DRM "'>"
		      "<AcquireTemplatesResult>"
		      "<GuidTemplate><Template>a</Template></GuidTemplate>"
		      "<GuidTemplate><Hash x:nil='true'/>"
		      "<Template x:nil='true'/></GuidTemplate>"
		      "<GuidTemplate><Template x:nil = \"1\"></Template>"
		      "</GuidTemplate><GuidTemplate><Template x:nil='false'/>"
		      "</GuidTemplate><GuidTemplate><Template nils='true'>"
		      "</Template></GuidTemplate></AcquireTemplatesResult>",
		 &templates, 5, 2);
}

/* ---- what is left alone ------------------------------------------------ */

static void
test_encodings(void **state)
{
	(void)state;
	unread_is("\xff\xfe<", SOAP_ENCODING);
	unread_is("\xfe\xff", SOAP_ENCODING);
	unread_is("\xef\xbb<a>", SOAP_ENCODING);
	unread_is("<?xml version='1.0' encoding='utf-16'?>", SOAP_ENCODING);
	unread_is("<?xml version='1.0' encoding=\"ISO-2022-JP\"?>",
		  SOAP_ENCODING);
	assert_int_equal(look_n(SLICE_LIT("<\0a\0>\0"), &items).unread,
			 SOAP_ENCODING);
	assert_int_equal(look_n(SLICE_LIT("\0<\0a"), &items).unread,
			 SOAP_ENCODING);
	first_is("<?xml version='1.0' encoding=\"UTF-8\" standalone='no'?>" OPEN
		 "<a>",
		 "a", SOAP_NS_OTHER);
	first_is("<?xml version='1.0'?>" OPEN "<a>", "a", SOAP_NS_OTHER);
}

static void
test_odd(void **state)
{
	static const char bomb[] =
	    "<!DOCTYPE x [<!ENTITY a \"b\"><!ENTITY c \"&a;&a;&a;\">]>" OPEN;

	(void)state;
	unread_is(bomb, SOAP_DOCTYPE);
	unread_is(DECL "<!DOCTYPE x>", SOAP_DOCTYPE);
	unread_is(OPEN "<!x>", SOAP_DOCTYPE);
	unread_is("no markup", SOAP_MALFORMED);
	unread_is("{\"json\": 1}", SOAP_MALFORMED);
	unread_is("<<", SOAP_MALFORMED);
	unread_is("</a>", SOAP_MALFORMED);
	unread_is(OPEN "<a$>", SOAP_MALFORMED);
	unread_is("<![CDATA[x]]>", SOAP_MALFORMED);
	unread_is("<s:Envelope $>", SOAP_MALFORMED);
	unread_is("<s:Envelope a b>", SOAP_MALFORMED);
	unread_is("<s:Envelope a 'b'>", SOAP_MALFORMED);
	unread_is("<s:Envelope / >", SOAP_MALFORMED);
	unread_is("<html><body>", SOAP_NO_SOAP);
	unread_is("<Envelope><Body>", SOAP_NO_SOAP);
	unread_is("<Envelope xmlns='" DRM "'><Body>", SOAP_NO_SOAP);
	unread_is("<s:Envelope xmlns:s='http&#58;//schemas'>", SOAP_NO_SOAP);
	unread_is("<s:Envelope xmlns:s='" S11 "'/>", SOAP_NO_SOAP);
	unread_is("<s:Envelope xmlns:s='" S11 "'><s:Body/></s:Envelope>",
		  SOAP_NO_SOAP);
	unread_is("<s:Envelope xmlns:s='" S11 "'><s:Body></s:Body>",
		  SOAP_NO_SOAP);
}

static void
test_limits(void **state)
{
	static char t[4096];
	struct sbuf b;
	struct said r;

	(void)state;
	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, OPEN);
	for (int i = 0; i < SOAP_DEPTH_MAX - 2; i++)
		sbuf_str(&b, "<a>");
	r = look(t, &items);
	assert_int_equal(r.unread, SOAP_READ);
	sbuf_str(&b, "<a>");
	unread_is(t, SOAP_LIMIT);

	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, OPEN "<");
	for (int i = 0; i < SOAP_TOKEN_MAX; i++)
		sbuf_char(&b, 'n');
	r = look(t, NULL);
	assert_int_equal(r.unread, SOAP_READ);
	sbuf_str(&b, "n>");
	unread_is(t, SOAP_LIMIT);

	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, "<?xml ");
	while (b.len < SOAP_TOKEN_MAX + 3)
		sbuf_char(&b, ' ');
	unread_is(t, SOAP_LIMIT);

	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, "<s:Envelope");
	for (int i = 0; i <= SOAP_NS_MAX; i++)
		sbuf_fmt(&b, " xmlns:n%d='" S11 "'", i);
	sbuf_char(&b, '>');
	unread_is(t, SOAP_LIMIT);
	/* those of others take no room */
	sbuf_init(&b, t, sizeof(t));
	sbuf_str(&b, "<s:Envelope xmlns:s='" S11 "'");
	for (int i = 0; i < 20; i++)
		sbuf_fmt(&b, " xmlns:n%d='x'", i);
	sbuf_str(&b, "><s:Body><a>");
	first_is(t, "a", SOAP_NS_OTHER);
}

/* Whatever is cut off, it is the same for all pieces, and nothing is found
 * that is not there. */
static void
test_cut_short(void **state)
{
	static const char text[] =
	    DECL OPEN ASK "<RequestParams>" PARAM PARAM
			  "</RequestParams></AcquireLicense>" SHUT;
	uint32_t last = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		struct said r = look_n((struct slice){text, n}, &items);

		assert_int_equal(r.unread, SOAP_READ);
		assert_true(r.items >= last && r.items <= 2);
		last = r.items;
	}
	assert_int_equal(last, 2);
}

static void
test_reason_names(void **state)
{
	(void)state;
	assert_string_equal(soap_unread_name(SOAP_READ), "");
	for (int u = SOAP_READ + 1; u < SOAP_UNREAD_MAX; u++)
		assert_true(strlen(soap_unread_name((enum soap_unread)u)) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_versions),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_around_tags),
	    cmocka_unit_test(test_items),
	    cmocka_unit_test(test_no_items),
	    cmocka_unit_test(test_failed_items),
	    cmocka_unit_test(test_null_items),
	    cmocka_unit_test(test_encodings),
	    cmocka_unit_test(test_odd),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_cut_short),
	    cmocka_unit_test(test_reason_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
