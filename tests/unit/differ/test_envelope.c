/*
 * Our look into envelopes beside expat: of every text that is well-formed both
 * say the same, or ours had a reason not to look.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "shm/base/log.h"
#include "tests/differ/envelope.h"

#define S11  "http://schemas.xmlsoap.org/soap/envelope/"
#define S12  "http://www.w3.org/2003/05/soap-envelope"
#define DRM  "http://microsoft.com/DRM/x"
#define OPEN "<s:Envelope xmlns:s='" S11 "'><s:Body>"
#define SHUT "</s:Body></s:Envelope>"

static const struct soap_path paths[] = {
    {"A/B", "", false}, {"A/B", "C", false},   {"A/B", "C", true},
    {"A", "A", false},	{"C/A/B", "B", false},
};

static const char *const texts[] = {
    OPEN "<o xmlns='" DRM "'><A><B/><B><C/></B><B>x</B></A></o>" SHUT,
    "<?xml version='1.0'?><e:Envelope xmlns:e=\"" S12 "\" xmlns:o='" DRM
    "'><e:Header><e:Body/><o:A><B/></o:A></e:Header><e:Body><o:q><A><B><x>"
    "<C z:nil='true' xmlns:z='z'/></x></B></A><A><B><C nil='0'/></B></A>"
    "</o:q></e:Body></e:Envelope>",
    "\xef\xbb\xbf<!-- - --><Envelope xmlns='" S11 "'><Body><o xmlns='" DRM
    "'><!--<A><B/></A>--><A a='>' b=\"/>\"><![CDATA[<B/>]]><B c='/'/><?p <B/>"
    "?><B nil='1'><C></C><C nil='1'/></B></A><A/></o><A><B/></A></Body>"
    "</Envelope>",
    OPEN "<o xmlns=''><C><A><B><B/></B><B/></A></C><A><A/></A><A>"
	 "<A><A/></A></A></o>" SHUT,
    "<s:Envelope xmlns:s='" S11 "' xmlns:t='" S11 "'><t:Body xmlns:s='y'>"
    "<s:o/></t:Body></s:Envelope>",
    "<a><b/></a>",
    "<s:Envelope xmlns:s='x'/>",
    "<s:Envelope xmlns:s='" S11 "'><s:Body/><s:Body><o/></s:Body>"
    "</s:Envelope>",
    "<!DOCTYPE a [<!ENTITY e 'f'>]><a>&e;</a>",
};

static unsigned well_formed, compared;

static void
judge(struct slice t)
{
	struct envelope ours, theirs;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		const char *way;

		envelope_theirs(&theirs, &paths[i], t.p, t.len);
		envelope_ours(&ours, &paths[i], t.p, t.len);
		way = envelope_way(&ours, &theirs);
		if (way != NULL)
			fail_msg("%s (path %zu), %u/%u ours, %u/%u expat's: "
				 "%.*s",
				 way, i, ours.items, ours.marked, theirs.items,
				 theirs.marked, (int)t.len, t.p);
		well_formed += theirs.well_formed;
		compared += theirs.well_formed && ours.unread == SOAP_READ &&
			    theirs.found;
	}
}

static void
test_whole(void **state)
{
	(void)state;
	well_formed = compared = 0;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		judge(slice_of(texts[i]));
	assert_int_equal(well_formed, ARRAY_LEN(texts) * ARRAY_LEN(paths));
	assert_int_equal(compared, 5 * ARRAY_LEN(paths));
}

/* Each byte another one, gone, or twice. */
static void
test_changed(void **state)
{
	static const char bytes[] = "<>/='\"&!?-[] \tsABCnx1:";
	char t[1024];

	(void)state;
	well_formed = compared = 0;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		size_t len = strlen(texts[i]);

		for (size_t at = 0; at < len; at++) {
			memcpy(t, texts[i], len + 1);
			for (const char *b = bytes; *b != '\0'; b++) {
				t[at] = *b;
				judge((struct slice){t, len});
			}
			memcpy(t + at, texts[i] + at + 1, len - at);
			judge((struct slice){t, len - 1});
			memcpy(t + at + 1, texts[i] + at, len - at + 1);
			t[at] = texts[i][at];
			judge((struct slice){t, len + 1});
		}
	}
	assert_true(well_formed > 10000 && compared > 5000);
}

/* A part of one text in another. */
static void
test_mixed(void **state)
{
	static const char *const parts[] = {
	    "<A>",	   "</A>", "<B>",	  "</B>",
	    "<C/>",	   "<B/>", "<A><B/></A>", "<C nil='true'/>",
	    "<!--<B>-->",  "<x/>", "<?x B?>",	  "<![CDATA[<C>]]>",
	    "<x><C/></x>",
	};
	char t[1024];
	uint32_t seed = 1;
	struct sbuf b;

	(void)state;
	well_formed = compared = 0;
	for (int n = 0; n < 50000; n++) {
		sbuf_init(&b, t, sizeof(t));
		sbuf_str(&b, OPEN "<o xmlns='" DRM "'>");
		for (int i = 0; i < 8; i++) {
			seed = seed * 1103515245 + 12345;
			sbuf_str(&b, parts[(seed >> 16) % ARRAY_LEN(parts)]);
		}
		sbuf_str(&b, "</o>" SHUT);
		judge((struct slice){b.p, b.len});
	}
	assert_true(compared > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_changed),
	    cmocka_unit_test(test_mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
