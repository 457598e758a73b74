/*
 * store: edits of the list: what each comes to before it is committed, that an
 * objection leaves nothing behind, and files of many entries.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "tests/unit/master/store_fixture.h"

#define LATER 4000000000 /* s: in 2096 */
#define PAST  1000000000

static struct store_effect seen; /* what judge() was shown */
static int verdict;		 /* what it says */

static int
judge(void *arg, const struct store_edit *e, char err[STORE_ERR])
{
	assert_ptr_equal(arg, &verdict);
	seen = e->effect;
	if (verdict != 0)
		snprintf(err, STORE_ERR, "the judge objects");
	return verdict;
}

static int
edit(struct store_edit *e)
{
	e->judge = judge;
	e->arg = &verdict;
	memset(&seen, 0xee, sizeof(seen));
	return store_edit(fx, e, &fx_who, fx_err);
}

static struct store_server
server(const char *subject, enum server_role role)
{
	struct store_server s = {.role = role};

	snprintf(s.subject, sizeof(s.subject), "%s", subject);
	return s;
}

static int
add(const char *subject, enum server_role role, uint64_t expires)
{
	struct store_server s = server(subject, role);
	struct store_edit e = {.kind = STORE_EDIT_ADD, .in = &s};
	int r;

	s.expires = expires;
	r = edit(&e);
	return r != 0 ? r : (int)e.server.id;
}

static int
remove_one(const char *which)
{
	struct store_edit e = {.kind = STORE_EDIT_REMOVE, .which = which};

	return edit(&e);
}

static int
update(const char *which, struct store_server s, unsigned fields)
{
	struct store_edit e = {.kind = STORE_EDIT_UPDATE,
			       .in = &s,
			       .which = which,
			       .fields = fields};

	return edit(&e);
}

static int
setup(void **state)
{
	verdict = 0;
	return fx_setup(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fx_teardown)

/* --- one entry ----------------------------------------------------------- */

static void
an_edit_says_what_it_comes_to(void **state)
{
	(void)state;
	assert_int_equal(add("a$@LAB.TEST", SERVER_FCI, 0), 1);
	assert_int_equal(seen.added, 1);
	assert_int_equal(seen.before, 0);
	assert_int_equal(seen.after, 1);
	assert_false(seen.live_before);
	assert_true(seen.live_after);
	assert_int_equal(add("b$@LAB.TEST", SERVER_FCI, PAST), 2);
	assert_int_equal(remove_one("a$@LAB.TEST"), 0);
	assert_int_equal(seen.removed, 1);
	assert_int_equal(seen.after, 1);
	assert_true(seen.live_before);
	/* what is left has expired: as good as none */
	assert_false(seen.live_after);
	assert_int_equal(fx_agrees(fx, 0), 3);
}

static void
an_objection_leaves_nothing(void **state)
{
	struct store_server f;

	(void)state;
	assert_int_equal(add("a$@LAB.TEST", SERVER_FCI, 0), 1);
	verdict = -EAGAIN;
	assert_int_equal(add("b$@LAB.TEST", SERVER_FCI, 0), -EAGAIN);
	fx_says("the judge objects");
	assert_int_equal(remove_one("1"), -EAGAIN);
	assert_int_equal(
	    update("1", server("", SERVER_SHAREPOINT), STORE_FIELD_ROLE),
	    -EAGAIN);
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(store_servers_count(fx), 1);
	assert_int_equal(store_server_find(fx, "1", &f), 0);
	assert_int_equal(f.role, SERVER_FCI);
}

static void
a_dry_run_leaves_nothing(void **state)
{
	struct store_edit e = {
	    .kind = STORE_EDIT_REMOVE, .which = "1", .dry_run = true};

	(void)state;
	assert_int_equal(add("a$@LAB.TEST", SERVER_FCI, 0), 1);
	assert_int_equal(edit(&e), 0);
	assert_int_equal(e.effect.removed, 1);
	assert_int_equal(e.effect.after, 0);
	assert_int_equal(store_servers_count(fx), 1);
	assert_int_equal(store_generation(fx), 1);
}

static void
an_update_changes_what_is_named(void **state)
{
	struct store_server s = server("", SERVER_SHAREPOINT), f, g;

	(void)state;
	assert_int_equal(fx_add("a$@LAB.TEST", SERVER_FCI), 1);
	assert_int_equal(store_server_find(fx, "1", &f), 0);
	snprintf(s.note, sizeof(s.note), "moved");
	s.expires = LATER;
	assert_int_equal(update("a$@LAB.TEST", s, STORE_FIELD_ROLE), 0);
	assert_int_equal(seen.changed, 1);
	assert_int_equal(store_server_find(fx, "a$@LAB.TEST", &g), 0);
	assert_int_equal(g.id, 1);
	assert_int_equal(g.added, f.added);
	assert_int_equal(g.role, SERVER_SHAREPOINT);
	assert_string_equal(g.name, f.name);
	assert_string_equal(g.note, "");
	assert_int_equal(g.expires, 0);
	assert_int_equal(update("1", s, STORE_FIELD_NOTE | STORE_FIELD_EXPIRES),
			 0);
	assert_int_equal(update("1", s, STORE_FIELD_NAME), 0);
	assert_int_equal(store_server_find(fx, "1", &g), 0);
	assert_string_equal(g.name, "");
	assert_string_equal(g.note, "moved");
	assert_int_equal(g.expires, LATER);
	/* What is so already makes no generation. */
	assert_int_equal(update("1", s, STORE_FIELD_ROLE), 0);
	assert_int_equal(seen.same, 1);
	assert_int_equal(store_generation(fx), 4);
	assert_int_equal(update("2", s, STORE_FIELD_ROLE), -ENOENT);
	fx_says("2 is not among the servers");
	memset(s.note, 'x', sizeof(s.note));
	assert_int_equal(update("1", s, STORE_FIELD_NOTE), -EINVAL);
	fx_says("the note is too long");
	assert_int_equal(fx_agrees(fx, 0), 4);
}

/* --- exchange for everybody ---------------------------------------------- */

static void
wide_is_seen_in_every_writing(void **state)
{
	static const char *const everyone[] = {"S-1-1-0", "s-1-1-0",
					       "S-1-0x1-0"};

	(void)state;
	verdict = -EAGAIN;
	for (size_t i = 0; i < ARRAY_LEN(everyone); i++) {
		assert_int_equal(add(everyone[i], SERVER_EXCHANGE, 0), -EAGAIN);
		assert_int_equal(seen.wide, 1);
		assert_string_equal(seen.first_wide.subject, "S-1-1-0");
	}
	verdict = 0;
	assert_int_equal(add("S-1-1-0", SERVER_FCI, 0), 1);
	assert_int_equal(seen.wide, 0);
	assert_int_equal(add("S-1-5-21-1-2-3-1104", SERVER_EXCHANGE, 0), 2);
	assert_int_equal(seen.wide, 0);
}

static void
wide_by_an_update(void **state)
{
	struct store_server s = server("", SERVER_EXCHANGE);

	(void)state;
	assert_int_equal(add("S-1-5-21-1-2-3-513", SERVER_FCI, LATER), 1);
	assert_int_equal(update("1", s, STORE_FIELD_ROLE), 0);
	assert_int_equal(seen.wide, 1);
	/* it has it now: what does not give more is no matter */
	snprintf(s.note, sizeof(s.note), "forced");
	assert_int_equal(update("1", s, STORE_FIELD_NOTE), 0);
	assert_int_equal(seen.wide, 0);
	s.expires = LATER - 1;
	assert_int_equal(update("1", s, STORE_FIELD_EXPIRES), 0);
	assert_int_equal(seen.wide, 0);
	/* for longer is more */
	s.expires = LATER;
	assert_int_equal(update("1", s, STORE_FIELD_EXPIRES), 0);
	assert_int_equal(seen.wide, 1);
	s.expires = 0;
	assert_int_equal(update("1", s, STORE_FIELD_EXPIRES), 0);
	assert_int_equal(seen.wide, 1);
	assert_int_equal(remove_one("1"), 0);
	assert_int_equal(seen.wide, 0);
}

/* An entry that has expired lets nobody in, until its end is moved. */
static void
wide_by_a_second_life(void **state)
{
	struct store_server s = server("", SERVER_EXCHANGE);

	(void)state;
	assert_int_equal(add("S-1-5-11", SERVER_EXCHANGE, PAST), 1);
	s.expires = LATER;
	assert_int_equal(update("1", s, STORE_FIELD_EXPIRES), 0);
	assert_int_equal(seen.wide, 1);
}

/* --- files ------------------------------------------------------------------
 */

static size_t expected_bytes; /* what an import says of its size */
static struct file {
	const struct store_server *s;
	size_t n, at;
	size_t nbad, rewinds;
	uint32_t bad_line[8];
	char bad_why[8][STORE_ERR];
	size_t noted;
} file;

static void
file_rewind(void *arg)
{
	struct file *f = arg;

	f->at = f->nbad = f->noted = 0;
	f->rewinds++;
}

static int
file_next(void *arg, struct store_server *s_r, uint32_t *line_r)
{
	struct file *f = arg;

	if (f->at == f->n)
		return 0;
	*s_r = f->s[f->at++];
	*line_r = (uint32_t)f->at + 1; /* below a head */
	return 1;
}

static void
file_bad(void *arg, uint32_t line, const char *why)
{
	struct file *f = arg;

	if (f->nbad < ARRAY_LEN(f->bad_line)) {
		f->bad_line[f->nbad] = line;
		snprintf(f->bad_why[f->nbad], STORE_ERR, "%s", why);
	}
	f->nbad++;
}

static void
file_note(void *arg, const struct store_server *was,
	  const struct store_server *now)
{
	struct file *f = arg;

	assert_true(was != NULL || now != NULL);
	f->noted++;
}

static int
import(const struct store_server *s, size_t n, enum store_merge merge,
       bool dry_run)
{
	struct store_import i = {
	    .merge = merge,
	    .from = "list.csv",
	    .bytes = expected_bytes,
	    .rewind = file_rewind,
	    .next = file_next,
	    .bad = file_bad,
	    .note = file_note,
	    .arg = &file,
	};
	struct store_edit e = {
	    .kind = STORE_EDIT_IMPORT, .import = &i, .dry_run = dry_run};

	file = (struct file){.s = s, .n = n};
	return edit(&e);
}

static void
bad_says(size_t i, uint32_t line, const char *why)
{
	assert_true(i < file.nbad);
	assert_int_equal(file.bad_line[i], line);
	if (strstr(file.bad_why[i], why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", file.bad_why[i], why);
}

static void
a_file_is_one_change(void **state)
{
	struct store_server s[3];
	struct store_change h;

	(void)state;
	s[0] = server("a$@LAB.TEST", SERVER_FCI);
	s[1] = server("b$@LAB.TEST", SERVER_SHAREPOINT);
	s[2] = server("S-1-5-21-1-2-3-1104", SERVER_EXCHANGE);
	s[2].expires = PAST;
	assert_int_equal(import(s, 3, STORE_MERGE_ADD, true), 0);
	assert_int_equal(seen.added, 3);
	assert_int_equal(store_generation(fx), 0);
	assert_int_equal(import(s, 3, STORE_MERGE_ADD, false), 0);
	assert_int_equal(seen.added, 3);
	assert_int_equal(seen.expired, 1);
	assert_int_equal(file.noted, 3);
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(store_history(fx, &h, 1), 1);
	assert_string_equal(h.what,
			    "import list.csv: 3 added, 0 changed, 0 removed");
	/* again, it is there */
	assert_int_equal(import(s, 3, STORE_MERGE_ADD, false), 0);
	assert_int_equal(seen.same, 3);
	assert_int_equal(file.noted, 0);
	assert_int_equal(store_generation(fx), 1);
	assert_int_equal(fx_agrees(fx, 0), 1);
}

static void
entries_that_differ(void **state)
{
	struct store_server s[2], f;

	(void)state;
	assert_int_equal(add("a$@LAB.TEST", SERVER_FCI, 0), 1);
	s[0] = server("b$@LAB.TEST", SERVER_FCI);
	s[1] = server("a$@LAB.TEST", SERVER_SHAREPOINT);
	assert_int_equal(import(s, 2, STORE_MERGE_ADD, false), -EINVAL);
	assert_int_equal(file.nbad, 1);
	bad_says(0, 3, "is entry 1 already, with another role");
	bad_says(0, 3, "--update");
	assert_int_equal(store_servers_count(fx), 1);
	/* with itself: one fault, not two */
	s[1] = server("b$@LAB.TEST", SERVER_SHAREPOINT);
	assert_int_equal(import(s, 2, STORE_MERGE_ADD, false), -EINVAL);
	assert_int_equal(file.nbad, 1);
	bad_says(0, 3, "that of line 2");
	s[1] = server("a$@LAB.TEST", SERVER_SHAREPOINT);
	assert_int_equal(import(s, 2, STORE_MERGE_UPDATE, false), 0);
	assert_int_equal(seen.added, 1);
	assert_int_equal(seen.changed, 1);
	assert_int_equal(store_server_find(fx, "1", &f), 0);
	assert_int_equal(f.role, SERVER_SHAREPOINT);
	assert_int_equal(fx_agrees(fx, 0), 2);
}

static void
a_file_in_place_of_all(void **state)
{
	struct store_server s[2], f;

	(void)state;
	assert_int_equal(add("a$@LAB.TEST", SERVER_FCI, 0), 1);
	assert_int_equal(add("b$@LAB.TEST", SERVER_FCI, 0), 2);
	assert_int_equal(add("c$@LAB.TEST", SERVER_FCI, 0), 3);
	s[0] = server("d$@LAB.TEST", SERVER_FCI);
	s[1] = server("b$@LAB.TEST", SERVER_SHAREPOINT);
	assert_int_equal(import(s, 2, STORE_MERGE_REPLACE, false), 0);
	assert_int_equal(seen.added, 1);
	assert_int_equal(seen.changed, 1);
	assert_int_equal(seen.removed, 2);
	assert_int_equal(seen.after, 2);
	assert_int_equal(store_server_find(fx, "b$@LAB.TEST", &f), 0);
	assert_int_equal(f.id, 2);
	assert_int_equal(store_server_find(fx, "a$@LAB.TEST", &f), -ENOENT);
	/* by nothing */
	assert_int_equal(import(s, 0, STORE_MERGE_REPLACE, false), 0);
	assert_int_equal(seen.removed, 2);
	assert_true(seen.live_before);
	assert_false(seen.live_after);
	assert_int_equal(fx_agrees(fx, 0), 5);
}

static void
all_bad_records_are_told(void **state)
{
	struct store_server s[6];

	(void)state;
	assert_int_equal(add("z$@LAB.TEST", SERVER_FCI, 0), 1);
	s[0] = server("a$@LAB.TEST", SERVER_FCI);
	s[1] = server("no realm", SERVER_FCI);
	s[2] = server("a$@LAB.TEST", SERVER_FCI); /* as the first */
	s[3] = server("b$@LAB.TEST", SERVER_FCI);
	snprintf(s[3].name, sizeof(s[3].name), "two\nlines");
	s[4] = server("z$@LAB.TEST", SERVER_FCI); /* there, and the same */
	s[5] = server("z$@LAB.TEST", SERVER_FCI);
	assert_int_equal(import(s, 6, STORE_MERGE_UPDATE, false), -EINVAL);
	fx_says("4 of the entries");
	assert_int_equal(file.nbad, 4);
	bad_says(0, 3, "has no realm");
	bad_says(1, 5, "the name holds a control character");
	bad_says(2, 7, "that of line 6");
	bad_says(3, 4, "that of line 2");
	assert_int_equal(store_servers_count(fx), 1);
	assert_int_equal(store_generation(fx), 1);
}

/* The map grows several times, and each time it starts anew. */
static void
a_large_file(void **state)
{
	enum { N = 30000 };
	struct store_server *s = calloc(N, sizeof(*s));

	(void)state;
	assert_non_null(s);
	for (size_t i = 0; i < N; i++) {
		s[i].role = SERVER_FCI;
		snprintf(s[i].subject, sizeof(s[i].subject),
			 "S-1-5-21-1-2-3-%zu", 5000 + i);
		snprintf(s[i].note, sizeof(s[i].note), "%0200zu", i);
	}
	/* one that says how large it is runs once */
	expected_bytes = N * 260;
	assert_int_equal(import(s, N, STORE_MERGE_ADD, true), 0);
	assert_int_equal(file.rewinds, 1);
	assert_int_equal(store_servers_count(fx), 0);
	fx_reopen();
	expected_bytes = 0;
	assert_int_equal(import(s, N, STORE_MERGE_ADD, false), 0);
	assert_true(file.rewinds > 1);
	assert_int_equal(seen.added, N);
	assert_int_equal(file.noted, N);
	assert_int_equal(store_servers_count(fx), N);
	s[N - 1].role = SERVER_SHAREPOINT;
	assert_int_equal(import(s + 1, N - 1, STORE_MERGE_REPLACE, false), 0);
	assert_int_equal(seen.removed, 1);
	assert_int_equal(seen.changed, 1);
	assert_int_equal(seen.same, N - 2);
	assert_int_equal(fx_agrees(fx, 0), 2);
	free(s);
}

/* --- pages -------------------------------------------------------------- */

static int
see_number(void *arg, const struct store_server *s)
{
	uint32_t *last = arg;

	*last = s->id;
	return 0;
}

static void
from_a_number_on(void **state)
{
	uint32_t last = 0;

	(void)state;
	assert_int_equal(add("a$@LAB.TEST", SERVER_FCI, 0), 1);
	assert_int_equal(add("b$@LAB.TEST", SERVER_FCI, 0), 2);
	assert_int_equal(remove_one("1"), 0);
	assert_int_equal(store_servers_from(fx, 0, see_number, &last), 0);
	assert_int_equal(last, 2);
	last = 0;
	assert_int_equal(store_servers_from(fx, 1, see_number, &last), 0);
	assert_int_equal(last, 2);
	last = 0;
	assert_int_equal(store_servers_from(fx, 2, see_number, &last), 0);
	assert_int_equal(last, 0);
	assert_int_equal(store_servers_from(fx, UINT32_MAX, see_number, &last),
			 0);
	assert_int_equal(last, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_edit_says_what_it_comes_to),
	    TEST(an_objection_leaves_nothing),
	    TEST(a_dry_run_leaves_nothing),
	    TEST(an_update_changes_what_is_named),
	    TEST(wide_is_seen_in_every_writing),
	    TEST(wide_by_an_update),
	    TEST(wide_by_a_second_life),
	    TEST(a_file_is_one_change),
	    TEST(entries_that_differ),
	    TEST(a_file_in_place_of_all),
	    TEST(all_bad_records_are_told),
	    TEST(a_large_file),
	    TEST(from_a_number_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
