/*
 * What would do, in words: a command that it offers is one to be pasted, and
 * the name in it is a client's choice.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "master/refusal.h"

#define ADD "rmsctl servers add --role ROLE "

static const char *
said(enum auth_mech mech, uint32_t nsids, const char *subject)
{
	static char text[1024];
	struct sbuf b;

	sbuf_init(&b, text, sizeof(text));
	refusal_say(&b, &(struct refusal){
			    .verdict = VERDICT_NO_MATCH,
			    .mech = mech,
			    .lack = LACK_NONE_GIVEN,
			    .nsids = nsids,
			    .subject = slice_of(subject),
			});
	return text;
}

static void
a_name_stands_between_quotes(void **state)
{
	static const struct {
		enum auth_mech mech;
		const char *subject, *word;
	} rows[] = {
	    {MECH_KERBEROS, "exch01$@LAB.TEST", ADD "'exch01$@LAB.TEST'"},
	    {MECH_KERBEROS, "$(id);`id`&|<> \"!*?~#@R",
	     ADD "'$(id);`id`&|<> \"!*?~#@R'"},
	    {MECH_NTLM, "CONTOSO\\exch01$", ADD "'CONTOSO\\exch01$'"},
	    {MECH_CERT, "CN=f\xc3\xb6,O=Contoso",
	     ADD "'cert:CN=f\xc3\xb6,O=Contoso'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (uint32_t nsids = 0; nsids < 2; nsids++)
			assert_non_null(
			    strstr(said(rows[i].mech, nsids, rows[i].subject),
				   rows[i].word));
	}
}

/* Also none that a log's escapes would turn into more than one word. */
static void
a_name_with_a_quote_is_in_no_command(void **state)
{
	static const char *const names[] = {
	    "x';id;'@LAB.TEST", "'",	     "x'\\''y@LAB.TEST",
	    "CONTOSO\\x';id #", "x\nid\n@R", "x\x1b[201~id@R",
	    "CN=a,O=O'Reilly",	"x\x7fy@R",  "x\rid@R",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		for (int mech = MECH_KERBEROS; mech <= MECH_CERT; mech++) {
			const char *text =
			    said((enum auth_mech)mech, 1, names[i]);

			assert_null(strstr(text, names[i]));
			assert_null(strchr(text, '\''));
			assert_non_null(strstr(text, ADD "SUBJECT ("));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_stands_between_quotes),
	    cmocka_unit_test(a_name_with_a_quote_is_in_no_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
