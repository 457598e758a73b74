/*
 * What decides before the mechanism is asked: is it version 2, is it anybody,
 * is it bound to our connection; and that nothing is read that is not there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/ntlm/ntlmssp.h"

/* An AUTHENTICATE message: the head of 88 bytes, then domain, user, response.
 */
struct auth {
	char bytes[1024];
	size_t len;
};

static void
put32(char *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (char)(v >> (8 * i));
}

static void
add_field(struct auth *a, size_t at, const void *p, size_t len)
{
	a->bytes[at] = a->bytes[at + 2] = (char)len;
	a->bytes[at + 1] = a->bytes[at + 3] = (char)(len >> 8);
	put32(a->bytes + at + 4, (uint32_t)a->len);
	memcpy(a->bytes + a->len, p, len);
	a->len += len;
}

static void
add_text(struct auth *a, size_t at, const char *s)
{
	char wide[200];
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		wide[2 * i] = s[i];
		wide[2 * i + 1] = '\0';
	}
	add_field(a, at, wide, 2 * n);
}

#define AT_NT	  20
#define AT_DOMAIN 28
#define AT_USER	  36
#define UNICODE	  1U

static struct auth
message(const char *domain, const char *user, const void *nt, size_t nt_len)
{
	struct auth a = {.len = 88};

	memcpy(a.bytes, "NTLMSSP\0\3\0\0\0", 12);
	put32(a.bytes + 60, UNICODE);
	add_text(&a, AT_DOMAIN, domain);
	add_text(&a, AT_USER, user);
	add_field(&a, AT_NT, nt, nt_len);
	return a;
}

/* A response of version 2 with these pairs (and their end). */
static struct auth
v2(const void *pairs, size_t len)
{
	char nt[600] = {0};

	nt[16] = nt[17] = 1;
	memcpy(nt + 44, pairs, len);
	return message("CONTOSO", "EXCH01$", nt, 44 + len);
}

static struct ntlmssp
read_it(const struct auth *a)
{
	struct ntlmssp r;
	char copy[1024];

	/* exactly so many bytes, for the sanitizers */
	memcpy(copy + sizeof(copy) - a->len, a->bytes, a->len);
	ntlmssp_read(&r, (struct slice){copy + sizeof(copy) - a->len, a->len});
	return r;
}

static void
an_answer_of_version_2_is_read(void **state)
{
	static const char pairs[] = "\x02\0\x08\0C\0O\0N\0T\0"
				    "\x0a\0\x10\0"
				    "0123456789abcdef"
				    "\x09\0\x0c\0H\0T\0T\0P\0/\0x\0"
				    "\0\0\0\0"
				    "\0\0\0\0"; /* Windows pads */
	struct auth a = v2(pairs, sizeof(pairs) - 1);
	struct ntlmssp r = read_it(&a);

	(void)state;
	assert_int_equal(r.kind, NTLMSSP_AUTHENTICATE);
	assert_true(r.v2);
	assert_false(r.anonymous);
	assert_true(r.has_binding);
	assert_memory_equal(r.binding, "0123456789abcdef", 16);
	assert_string_equal(r.account, "CONTOSO\\EXCH01$");
	assert_string_equal(r.target, "HTTP/x");
}

static void
without_a_binding_there_is_none(void **state)
{
	static const char zero[] = "\x0a\0\x10\0"
				   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
				   "\0\0\0\0";
	struct auth a = v2(zero, sizeof(zero) - 1), b = v2("\0\0\0\0", 4);

	(void)state;
	assert_int_equal(read_it(&a).kind, NTLMSSP_AUTHENTICATE);
	assert_false(read_it(&a).has_binding);
	assert_int_equal(read_it(&b).kind, NTLMSSP_AUTHENTICATE);
	assert_false(read_it(&b).has_binding);
}

static void
version_1_is_told_from_2(void **state)
{
	static const char response[24] = "123456789012345678901234";
	struct auth a = message("CONTOSO", "x", response, 24);
	struct ntlmssp r = read_it(&a);

	(void)state;
	assert_int_equal(r.kind, NTLMSSP_AUTHENTICATE);
	assert_false(r.v2);
	assert_false(r.anonymous);
	/* longer, but nothing that version 2 could be */
	a = message("CONTOSO", "x", "1234567890123456789012345", 25);
	assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
}

static void
nobody_is_recognised(void **state)
{
	char nt[48] = {[16] = 1, [17] = 1};
	struct auth no_name = message("CONTOSO", "", nt, 48),
		    no_response = message("CONTOSO", "x", "", 0),
		    flagged = message("CONTOSO", "x", nt, 48);

	(void)state;
	assert_false(read_it(&flagged).anonymous);
	put32(flagged.bytes + 60, UNICODE | 0x800);
	assert_true(read_it(&flagged).anonymous);
	assert_true(read_it(&no_name).anonymous);
	assert_true(read_it(&no_response).anonymous);
}

static void
pairs_that_could_be_read_in_two_ways_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {
#define W(s) {s, sizeof(s) - 1}
	    W(""),	     /* no end */
	    W("\0\0\0"),     /* half an end */
	    W("\0\0\1\0x"),  /* an end with a value */
	    W("\1\0\4\0ab"), /* longer than what is there */
	    W("\1\0\xff\xff\0\0\0\0"),
	    W("\x0a\0\4\0abcd\0\0\0\0"),	 /* a hash of four bytes */
	    W("\1\0\2\0a\0\1\0\2\0b\0\0\0\0\0"), /* twice */
	    W("\x40\0\0\0\0\0\0\0"),		 /* no such number */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct auth a = v2(wrong[i].bytes, wrong[i].len);

		assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
	}
}

static void
fields_outside_of_the_message_are_refused(void **state)
{
	static const size_t at[] = {AT_NT, AT_DOMAIN, AT_USER};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		struct auth a = v2("\0\0\0\0", 4);

		put32(a.bytes + at[i] + 4, (uint32_t)a.len - 1);
		assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
		put32(a.bytes + at[i] + 4, UINT32_MAX);
		assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
	}
}

static void
a_message_cut_anywhere_is_refused(void **state)
{
	struct auth whole = v2("\0\0\0\0", 4);

	(void)state;
	for (size_t n = 0; n < whole.len; n++) {
		struct auth a = whole;

		a.len = n;
		assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
	}
}

static void
other_messages_have_their_kind(void **state)
{
	struct auth a = {.len = 12};

	(void)state;
	memcpy(a.bytes, "NTLMSSP\0\1\0\0\0", 12);
	assert_int_equal(read_it(&a).kind, NTLMSSP_NEGOTIATE);
	a.bytes[8] = 2;
	assert_int_equal(read_it(&a).kind, NTLMSSP_CHALLENGE);
	a.bytes[8] = 4;
	assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
	a.bytes[8] = 0;
	assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
	a.bytes[8] = 1;
	a.bytes[0] = 'n';
	assert_int_equal(read_it(&a).kind, NTLMSSP_BAD);
}

/* Names go into logs: no control characters, no half of a pair. */
static void
names_that_are_no_text_are_left_out(void **state)
{
	char nt[48] = {[16] = 1, [17] = 1};
	struct auth a = message("CON\nTOSO", "x", nt, 48);

	(void)state;
	assert_string_equal(read_it(&a).account, "");
	a = message("", "user@contoso.test", nt, 48);
	assert_string_equal(read_it(&a).account, "user@contoso.test");
	a = message("D", "J?rg", nt, 48);
	for (size_t i = 88; i < a.len; i++)
		if (a.bytes[i] == '?')
			a.bytes[i] = (char)0xf6; /* o with two dots */
	assert_string_equal(read_it(&a).account, "D\\J\xc3\xb6rg");
	for (size_t i = 88; i < a.len; i++)
		if (a.bytes[i] == (char)0xf6)
			a.bytes[i + 1] = (char)0xd8; /* half of a pair */
	assert_string_equal(read_it(&a).account, "");
}

/* The hash of a binding that Windows and gss-ntlmssp make: MD5 of the struct
 * in RFC 2744's order, without addresses (checked with md5sum). */
static void
a_binding_has_the_hash_that_clients_send(void **state)
{
	static const uint8_t want[] = {0x65, 0x86, 0xe9, 0x9d, 0x81, 0xc2,
				       0xfc, 0x98, 0x4e, 0x47, 0x17, 0x2f,
				       0xd4, 0xdd, 0x03, 0x10};
	uint8_t got[NTLMSSP_BINDING_BYTES];

	(void)state;
	assert_int_equal(
	    ntlmssp_binding(
		SLICE_LIT("tls-server-end-point:"
			  "\xea\x05\xfe\xfe\xcc\x6b\x0b\xd5\x71\xdb\xbc\x5b"
			  "\xaa\x3e\xd4\x53\x86\xd0\x44\x68\x35\xf7\xb7\x4c"
			  "\x85\x62\x1b\x99\x83\x47\x5f\x95"),
		got),
	    0);
	assert_memory_equal(got, want, sizeof(want));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_answer_of_version_2_is_read),
	    cmocka_unit_test(without_a_binding_there_is_none),
	    cmocka_unit_test(version_1_is_told_from_2),
	    cmocka_unit_test(nobody_is_recognised),
	    cmocka_unit_test(pairs_that_could_be_read_in_two_ways_are_refused),
	    cmocka_unit_test(fields_outside_of_the_message_are_refused),
	    cmocka_unit_test(a_message_cut_anywhere_is_refused),
	    cmocka_unit_test(other_messages_have_their_kind),
	    cmocka_unit_test(names_that_are_no_text_are_left_out),
	    cmocka_unit_test(a_binding_has_the_hash_that_clients_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
