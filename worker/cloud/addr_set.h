/*
 * addr_set: the addresses of one name, at most TOKEN_ADDRS_MAX, each once.
 * Their order is the order in which to try them.
 */
#ifndef RMS_ADDR_SET_H
#define RMS_ADDR_SET_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/token.h"

struct addr_set {
	struct token_addr a[TOKEN_ADDRS_MAX];
	uint32_t n;
};

/* Room for the text of a full set: 16 x (45 + comma) and a NUL. */
#define ADDR_SET_TEXT 768

/*
 * False when nothing was added: full, already there, or no address that one
 * can connect to (0.0.0.0 and :: as a sinkhole gives, multicast).
 */
bool addr_set_add(struct addr_set *s, const struct token_addr *a);
/* From an inet_pton() literal.  0 or -EINVAL. */
MUST_USE int addr_set_add_text(struct addr_set *s, const char *text);
/* "10.0.0.1, 2001:db8::1".  0 with at least one, or -EINVAL. */
MUST_USE int addr_set_parse(struct addr_set *s_r, const char *list);
/* The same addresses, in whatever order. */
bool addr_set_same(const struct addr_set *a, const struct addr_set *b);
/* How many of family 4 or 6. */
uint32_t addr_set_count(const struct addr_set *s, uint8_t family);
/* Appends from's addresses of the family. */
void addr_set_append(struct addr_set *s, const struct addr_set *from,
		     uint8_t family);

/*
 * A CURLOPT_RESOLVE value's list or a list for people: separated by commas,
 * IPv6 in brackets when `brackets`.  What does not fit is left out.
 */
void addr_set_text(const struct addr_set *s, bool brackets, char *out,
		   size_t size);

#endif
