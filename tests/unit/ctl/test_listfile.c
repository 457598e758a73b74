/* Files of servers: CSV as RFC 4180 has it and as people have it, JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/csv.h"
#include "tools/ctl/listfile.h"

#include "shm/base/log.h"

static struct bulk_row rows[16];
static size_t nrows, nbad;
static uint32_t bad_line[16];
static char bad_why[16][300];

static int
on_row(void *arg, const struct bulk_row *row)
{
	(void)arg;
	if (nrows < ARRAY_LEN(rows))
		rows[nrows] = *row;
	nrows++;
	return 0;
}

static void
on_bad(void *arg, uint32_t line, const char *why)
{
	(void)arg;
	if (nbad < ARRAY_LEN(bad_line)) {
		bad_line[nbad] = line;
		snprintf(bad_why[nbad], sizeof(bad_why[0]), "%s", why);
	}
	nbad++;
}

static void
read_bytes(const char *text, size_t len, enum listfile_format format)
{
	struct listfile l = {.format = format, .row = on_row, .bad = on_bad};

	nrows = nbad = 0;
	/* fmemopen() takes no empty memory */
	l.in = len == 0 ? fopen("/dev/null", "re")
			: fmemopen((void *)(uintptr_t)text, len, "r");
	assert_non_null(l.in);
	assert_int_equal(listfile_read(&l), 0);
	fclose(l.in);
}

static void
read_text(const char *text)
{
	read_bytes(text, strlen(text), LISTFILE_AUTO);
}

static void
row_is(size_t i, uint32_t line, const char *subject, const char *role,
       const char *name, const char *note, uint64_t expires)
{
	assert_true(i < nrows);
	assert_int_equal(rows[i].line, line);
	assert_string_equal(rows[i].subject, subject);
	assert_string_equal(rows[i].role, role);
	assert_string_equal(rows[i].name, name);
	assert_string_equal(rows[i].note, note);
	assert_int_equal(rows[i].expires, expires);
}

static void
bad_is(size_t i, uint32_t line, const char *says)
{
	if (i >= nbad || bad_line[i] != line ||
	    strstr(bad_why[i], says) == NULL)
		fail_msg("fault %zu of %zu is \"%s\" in line %u", i, nbad,
			 bad_why[i], bad_line[i]);
}

#define HEAD "subject,role,name,note,expires\n"

static void
csv_as_it_should_be(void **state)
{
	(void)state;
	read_text("\xef\xbb\xbf"
		  "role,Subject,note\r\n"
		  "fci,a$@R,\"one, two\"\r\n"
		  "\r\n"
		  "EXCHANGE,S-1-5-32-544,\"say \"\"hi\"\"\"\r\n"
		  "sharepoint,\"b$@R\",");
	assert_int_equal(nbad, 0);
	assert_int_equal(nrows, 3);
	row_is(0, 2, "a$@R", "fci", "", "one, two", 0);
	row_is(1, 4, "S-1-5-32-544", "exchange", "", "say \"hi\"", 0);
	row_is(2, 5, "b$@R", "sharepoint", "", "", 0);
}

static void
csv_line_breaks_and_dates(void **state)
{
	(void)state;
	read_text(HEAD
		  "a$@R,fci,\"J\xc3\xb6rg\r\n\n of K\",\"x\ny\",2027-01-31\n"
		  "b$@R,fci, n ,,never\n"
		  "c$@R,fci,,,2027-01-31T18:00:00Z\n");
	assert_int_equal(nbad, 0);
	row_is(0, 2, "a$@R", "fci", "J\xc3\xb6rg  of K", "x y", 1801353600);
	row_is(1, 6, "b$@R", "fci", " n ", "", 0);
	row_is(2, 7, "c$@R", "fci", "", "", 1801353600 + 64800);
}

static void
every_bad_row_has_its_line(void **state)
{
	char big[400], text[8192];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	snprintf(text, sizeof(text),
		 HEAD "a$@R,fci\n"
		      "b$@R,king,,,\n"
		      "c$@R,fci,\"two\nlines\"x,,\n"
		      "d$@R,fci,,,soon\n"
		      ",fci,,,\n"
		      "e$@R,,,,\n"
		      "f$@R,fci,a\"b,,\n"
		      "g$@R,fci,%s,,\n"
		      "h$@R,fci,,,2027-02-30\n"
		      "ok$@R,fci,,,\n"
		      "i$@R,fci,\"never closed,,\n",
		 big);
	read_text(text);
	bad_is(0, 2, "it has 2 fields, the head has 5");
	bad_is(1, 3, "no role \"king\"");
	bad_is(2, 4, "follows the closing quote");
	bad_is(3, 6, "expires \"soon\" is not a date");
	bad_is(4, 7, "the subject is missing");
	bad_is(5, 8, "no role \"\"");
	bad_is(6, 9, "a quote inside a field");
	bad_is(7, 10, "the name has too many bytes (399)");
	bad_is(8, 11, "is not a date");
	bad_is(9, 13, "is never closed");
	assert_int_equal(nbad, 10);
	assert_int_equal(nrows, 1);
	row_is(0, 12, "ok$@R", "fci", "", "", 0);
}

static void
heads_that_are_none(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} bad[] = {
	    {"", "the file is empty"},
	    {"\n\n", "the file is empty"},
	    {"S-1-5-32-544,fci\n", "\"S-1-5-32-544\" is none of them"},
	    {"subject;role\n", "semicolons"},
	    {"subject,name\n", "\"role\" is missing"},
	    {"role,name\n", "\"subject\" is missing"},
	    {"subject,role,role\n", "is there twice"},
	    {"\xef\xbb,role\n", "not UTF-8"},
	    {"\"subject\n", "never closed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		read_bytes(bad[i].text, strlen(bad[i].text), LISTFILE_CSV);
		assert_int_equal(nrows, 0);
		assert_int_equal(nbad, 1);
		bad_is(0, i == 1 ? 3 : 1, bad[i].says);
	}
}

static void
bytes_beyond_all_bounds(void **state)
{
	char *text = malloc(20000);
	size_t n = (size_t)snprintf(text, 20000, HEAD);

	(void)state;
	memset(text + n, 'x', 9000);
	memcpy(text + n + 9000, "\na$@R,fci,,,\n", 13);
	read_bytes(text, n + 9013, LISTFILE_CSV);
	bad_is(0, 2, "longer than 8192 bytes");
	row_is(0, 3, "a$@R", "fci", "", "", 0);
	memset(text + n, ',', 100);
	memcpy(text + n + 100, "\na\0$@R,fci,,,\n", 14);
	read_bytes(text, n + 114, LISTFILE_CSV);
	bad_is(0, 2, "more than 16 fields");
	bad_is(1, 3, "a NUL");
	assert_int_equal(nrows, 0);
	free(text);
}

static void
json_as_it_should_be(void **state)
{
	(void)state;
	read_text(
	    "[\n"
	    "{\"subject\": \"a$@R\", \"role\": \"fci\"},\n"
	    "{\"role\":\"exchange\",\"subject\":\"S-1-5-32-544\",\n"
	    "\"name\":\"J\\u00f6rg\",\"note\":\"x\\ny\",\"expires\":null}\n"
	    ", {\"subject\":\"b$@R\",\"role\":\"fci\",\"expires\":"
	    "\"2027-01-31\"} ]\n ");
	assert_int_equal(nbad, 0);
	assert_int_equal(nrows, 3);
	row_is(0, 2, "a$@R", "fci", "", "", 0);
	row_is(1, 3, "S-1-5-32-544", "exchange", "J\xc3\xb6rg", "x y", 0);
	row_is(2, 5, "b$@R", "fci", "", "", 1801353600);
	read_text("[]");
	assert_int_equal(nbad + nrows, 0);
}

static void
json_faults(void **state)
{
	(void)state;
	read_text("[{\"subject\":\"a$@R\"},\n"
		  "{\"subject\":1,\"role\":\"fci\"},\n"
		  "{\"subject\":\"a$@R\",\"role\":\"fci\",\"rôle\":\"x\"},\n"
		  "[1],\n"
		  "{\"subject\":\"a\\u0000$@R\",\"role\":\"fci\"},\n"
		  "{\"subject\":\"b$@R\",\"role\":\"fci\"}]\n x");
	bad_is(0, 1, "the role is missing");
	bad_is(1, 2, "the subject is no string");
	bad_is(2, 3, "is none of subject, role");
	bad_is(3, 4, "no object");
	bad_is(4, 5, "not JSON");
	/* where that ends nobody can tell */
	assert_int_equal(nbad, 5);
	assert_int_equal(nrows, 0);
	read_text("[{\"subject\":\"b$@R\",\"role\":\"fci\"}]\n x");
	bad_is(0, 2, "something follows");
	read_text("[{\"subject\":\"b$@R\",\"role\":\"fci\"}\n{");
	bad_is(0, 2, ", or ] is needed");
	read_text(
	    "[{\"subject\":\"b$@R\",\"subject\":\"c$@R\",\"role\":\"fci\"}]");
	bad_is(0, 1, "duplicate");
	read_text("[");
	assert_int_equal(nbad, 1);
	read_bytes("{}", 2, LISTFILE_JSON);
	bad_is(0, 1, "an array is needed");
}

static void
json_without_end(void **state)
{
	char *text = malloc(100000);

	(void)state;
	memset(text, 'x', 100000);
	memcpy(text, "[{\"subject\":\"", 13);
	read_bytes(text, 100000, LISTFILE_AUTO);
	bad_is(0, 1, "longer than 64 kB");
	assert_int_equal(nbad, 1);
	free(text);
}

/* What is written is read as it was. */
static void
there_and_back(void **state)
{
	static const char *const fields[] = {
	    "plain", "", " blank ", "a,b", "say \"hi\"", "\"", "K\xc3\xb6ln",
	};
	char mem[512], err[CSV_ERR_MAX];
	struct csv c;
	FILE *f = fmemopen(mem, sizeof(mem), "w+");

	(void)state;
	assert_non_null(f);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (i > 0)
			putc(',', f);
		csv_put(f, slice_of(fields[i]));
	}
	fputs("\r\n", f);
	fclose(f);
	f = fmemopen(mem, strlen(mem), "r");
	csv_init(&c, f);
	assert_int_equal(csv_next(&c, err), 1);
	assert_int_equal(c.n, ARRAY_LEN(fields));
	for (size_t i = 0; i < c.n; i++)
		assert_true(slice_is(c.field[i], fields[i]));
	assert_int_equal(csv_next(&c, err), 0);
	fclose(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(csv_as_it_should_be),
	    cmocka_unit_test(csv_line_breaks_and_dates),
	    cmocka_unit_test(every_bad_row_has_its_line),
	    cmocka_unit_test(heads_that_are_none),
	    cmocka_unit_test(bytes_beyond_all_bounds),
	    cmocka_unit_test(json_as_it_should_be),
	    cmocka_unit_test(json_faults),
	    cmocka_unit_test(json_without_end),
	    cmocka_unit_test(there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
