/*
 * What was seen of accounts as records: it outlives the process, and a record
 * that is none is refused.
 */
#include "tests/unit/master/seen_fixture.h"

struct saved {
	size_t n;
	struct {
		struct seen_key key;
		size_t len;
		char bytes[SEEN_RECORD_MAX];
	} row[64];
};
static struct saved saved;

/* As the store: a row takes the place of that with its key. */
static int
save_row(void *arg, struct seen_key key, struct slice record)
{
	size_t i = 0;

	(void)arg;
	while (i < saved.n && (saved.row[i].key.kind != key.kind ||
			       saved.row[i].key.slot != key.slot))
		i++;
	assert_true(i < ARRAY_LEN(saved.row));
	saved.n = MAX(saved.n, i + 1);
	saved.row[i].key = key;
	saved.row[i].len = record.len;
	memcpy(saved.row[i].bytes, record.p, record.len);
	return 0;
}

static void
save(struct seen *s)
{
	size_t n = seen_unsaved(s);

	assert_int_equal(seen_each_unsaved(s, n, save_row, NULL), 0);
	seen_saved(s, n);
	assert_int_equal(seen_unsaved(s), 0);
}

/* Another life, from what was saved. */
static struct seen *
again(size_t max)
{
	struct seen *s = seen_new(max);

	/* as the store: the smaller kind first */
	for (unsigned i = 0; i < (SEEN_SIDS + 1) * saved.n; i++) {
		size_t at = i % saved.n;
		struct slice r = {saved.row[at].bytes, saved.row[at].len};

		if (saved.row[at].key.kind == (enum seen_kind)(i / saved.n))
			assert_int_equal(seen_load(s, saved.row[at].key, r), 0);
	}
	seen_loaded(s, 77);
	return s;
}

static void
what_was_seen_outlives_the_process(void **state)
{
	struct seen *s = seen_new(4);
	struct msg_seen m = allowed("a$@R", false);
	const struct seen_account *a;
	char mem[32];

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	m.sid = SLICE_LIT("S-1-5-21-1-2-3-1001");
	m.listener = SLICE_LIT("plain");
	m.nsids = 2;
	m.sids_hash = 5;
	m.sids = sids(mem, 1);
	m.other = 9;
	assert_true(report(s, m, 1).insecure);
	report(s, refused("x@R"), 2);
	save(s);
	seen_free(&s);

	s = again(4);
	assert_int_equal(seen_since(s), 77);
	assert_int_equal(seen_unsaved(s), 0);
	assert_int_equal(seen_count(s), 2);
	a = seen_find(s, SLICE_LIT("S-1-5-21-1-2-3-1001"));
	assert_non_null(a);
	assert_string_equal(a->account, "a$@R");
	assert_string_equal(a->listener, "plain");
	assert_int_equal(a->way[WAY_HTTP], 1000 * NS_PER_S + 1);
	assert_true(slice_eq(a->sids, m.sids));
	assert_int_equal(a->allowed, 1);
	assert_int_equal(seen_entry(s, 7)->last, 1000 * NS_PER_S + 1);
	/* What was told is not told again ... */
	m.sids.len = 0;
	assert_memory_equal(&(struct seen_news){0},
			    &(struct seen_news[]){report(s, m, 3)}[0],
			    sizeof(struct seen_news));
	/* ... and what is new is, without a pause that was another life's. */
	m.tls = true;
	assert_true(report(s, m, 4).to_https);
	report(s, refused("a$@R"), 5);
	assert_true(report(s, m, 6).allowed);
	seen_free(&s);
}

/* n different SIDs, as long as SIDs may be. */
static struct slice
many_sids(char *mem, unsigned n)
{
	char *to = mem;

	for (unsigned i = 0; i < n; i++) {
		char head[] = {SID_GROUP, SID_BYTES_MAX, 1, 15, 0, 0, 0, 0, 0,
			       5};

		memset(to, 0, 2 + SID_BYTES_MAX);
		memcpy(to, head, sizeof(head));
		to[10] = (char)i;
		to[11] = (char)(i >> 8);
		to += 2 + SID_BYTES_MAX;
	}
	return (struct slice){mem, (size_t)(to - mem)};
}

static void
the_longest_list_outlives_the_process(void **state)
{
	static char mem[SIDS_PACKED_MAX];
	struct seen *s = seen_new(2);
	struct msg_seen m = allowed("a@R", true);

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	m.nsids = IDENTITY_SIDS_MAX;
	m.sids_hash = 5;
	m.sids = many_sids(mem, IDENTITY_SIDS_MAX);
	assert_int_equal(m.sids.len, SIDS_PACKED_MAX);
	assert_int_equal(sids_count(m.sids), IDENTITY_SIDS_MAX);
	report(s, m, 1);
	save(s);
	/* written once: what does not change is not written again */
	m.sids.len = 0;
	report(s, m, 2);
	assert_int_equal(seen_unsaved(s), 2); /* account and entry */
	m.sids.len = SIDS_PACKED_MAX;	      /* by another relay */
	report(s, m, 3);
	assert_int_equal(seen_unsaved(s), 2);
	save(s);
	seen_free(&s);

	s = again(2);
	assert_int_equal(seen_unsaved(s), 0);
	assert_true(slice_eq(seen_find(s, SLICE_LIT("a@R"))->sids, m.sids));
	assert_int_equal(seen_find(s, SLICE_LIT("a@R"))->sids_ns,
			 1000 * NS_PER_S + 3);
	seen_free(&s);
}

/* The kill came before the record of its SIDs was written: that in its slot is
 * of another account, or of a list that it had before. */
static void
sids_of_another_account_or_time_are_not_taken(void **state)
{
	static char before[SEEN_RECORD_MAX];
	struct msg_seen m;
	struct seen *s;
	char mem[32];
	size_t i, len = 0;

	(void)state;
	for (int turn = 0; turn < 3; turn++) {
		s = seen_new(1);
		saved.n = 0;
		m = allowed(turn == 1 ? "b@R" : "a@R", true);
		m.nsids = 2;
		m.sids_hash = turn == 2 ? 6 : 5;
		m.sids = sids(mem, 1);
		report(s, m, 1);
		save(s);
		seen_free(&s);
		for (i = 0; saved.row[i].key.kind != SEEN_SIDS; i++)
			continue;
		if (turn == 0) {
			len = saved.row[i].len;
			memcpy(before, saved.row[i].bytes, len);
		} else {
			assert_int_equal(saved.row[i].len, len);
			memcpy(saved.row[i].bytes, before, len);
		}
		s = again(1);
		assert_int_equal(seen_find(s, m.account)->sids.len,
				 turn == 0 ? m.sids.len : 0);
		seen_free(&s);
	}
}

static void
the_oldest_goes_first_in_the_next_life_too(void **state)
{
	struct seen *s = seen_new(3);

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	report(s, allowed("a@R", true), 1);
	report(s, allowed("b@R", true), 2);
	report(s, allowed("c@R", true), 3);
	report(s, allowed("a@R", true), 4);
	save(s);
	seen_free(&s);
	s = again(3);
	report(s, allowed("d@R", true), 5);
	assert_null(seen_find(s, SLICE_LIT("b@R")));
	assert_non_null(seen_find(s, SLICE_LIT("a@R")));
	/* its record takes the place of the one that is gone */
	save(s);
	seen_free(&s);
	s = again(3);
	assert_int_equal(seen_count(s), 3);
	assert_null(seen_find(s, SLICE_LIT("b@R")));
	assert_non_null(seen_find(s, SLICE_LIT("d@R")));
	seen_free(&s);
}

/* Forgotten and seen again, and the kill came before the old was written
 * over. */
static void
of_two_records_of_an_account_the_later_counts(void **state)
{
	struct seen *s = seen_new(2);
	struct seen_key key;

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		saved.n = 0;
		report(s, allowed("a@R", true), 1);
		save(s);
		report(s, allowed("a@R", true), 9);
		key = saved.row[0].key;
		saved.row[0].key.slot = 1 - key.slot;
		save(s);
		/* now 1 has the first report, 0 the second */
		if (turn == 1)
			saved.row[0].key.slot = 1 - saved.row[0].key.slot;
		seen_free(&s);
		s = again(2);
		assert_int_equal(seen_count(s), 1);
		assert_true(seen_find(s, SLICE_LIT("a@R"))->last >=
			    1000 * NS_PER_S + 9);
	}
	seen_free(&s);
}

static void
a_record_that_is_none_is_refused(void **state)
{
	struct seen *s = seen_new(4), *into;
	struct msg_seen m = allowed("a@R", true);
	char mem[32];

	(void)state;
	saved.n = 0;
	seen_loaded(s, 77);
	m.nsids = 2;
	m.sids_hash = 5;
	m.sids = sids(mem, 1);
	report(s, m, 1);
	save(s);
	seen_free(&s);
	assert_int_equal(saved.n, 4); /* since, account, its SIDs, entry */
	for (size_t i = 0; i < saved.n; i++) {
		struct slice r = {saved.row[i].bytes, saved.row[i].len};
		struct seen_key key = saved.row[i].key;

		into = seen_new(4);
		for (; r.len > 0; r.len--) {
			if (r.len == saved.row[i].len)
				continue;
			assert_int_equal(seen_load(into, key, r), -EINVAL);
		}
		assert_int_equal(seen_load(into, key, r), -EINVAL);
		r.len = saved.row[i].len;
		/* no such slot, no such kind, another version */
		key.slot = 1U << 30;
		if (key.kind != SEEN_SINCE)
			assert_int_equal(seen_load(into, key, r), -EINVAL);
		key = saved.row[i].key;
		key.kind = SEEN_ENTRY + 1;
		assert_int_equal(seen_load(into, key, r), -EINVAL);
		saved.row[i].bytes[0]++;
		assert_int_equal(seen_load(into, saved.row[i].key, r), -EINVAL);
		assert_int_equal(seen_count(into), 0);
		seen_free(&into);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_seen_outlives_the_process),
	    cmocka_unit_test(the_longest_list_outlives_the_process),
	    cmocka_unit_test(sids_of_another_account_or_time_are_not_taken),
	    cmocka_unit_test(the_oldest_goes_first_in_the_next_life_too),
	    cmocka_unit_test(of_two_records_of_an_account_the_later_counts),
	    cmocka_unit_test(a_record_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
