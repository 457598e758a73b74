/*
 * Any text, fed whole, byte by byte and in pieces of any length: the same is
 * said of it, and no byte is read that is not there.  The first byte chooses
 * what is counted, the second where the pieces end.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/soap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct soap_path paths[] = {
    {"A/B", "", false},
    {"RequestParams/AcquireLicenseParams", "", false},
    {"AcquireLicenseResult/AcquireLicenseResponse", "AcquireLicenseException",
     false},
    {"AcquireTemplatesResult/GuidTemplate", "Template", true},
    {"A", "A", false},
};

struct said {
	struct soap s;
	char first[SOAP_TOKEN_MAX + 1];
};

static void
feed(struct said *r, const struct soap_path *what, const uint8_t *p, size_t n)
{
	char *copy = malloc(n == 0 ? 1 : n);
	size_t at = 0, used;

	BUG_ON(copy == NULL);
	memcpy(copy, p, n);
	while (at < n && r->s.state == SOAP_READING) {
		used = soap_feed(&r->s, copy + at, n - at);
		BUG_ON(used > n - at);
		BUG_ON(used < n - at && r->s.state == SOAP_READING);
		at += used;
		if (r->s.state == SOAP_FIRST) {
			str_cut(r->first, sizeof(r->first), soap_first(&r->s));
			soap_count(&r->s, what);
		}
	}
	free(copy);
}

static void
check(const struct said *a, const struct said *b)
{
	BUG_ON(a->s.state != b->s.state || a->s.unread != b->s.unread);
	BUG_ON(a->s.ns != b->s.ns || a->s.first_ns != b->s.first_ns);
	BUG_ON(a->s.items != b->s.items || a->s.marked != b->s.marked);
	BUG_ON(a->s.depth != b->s.depth && a->s.state == SOAP_READING);
	BUG_ON(strcmp(a->first, b->first) != 0);
	BUG_ON(a->s.marked > a->s.items);
	BUG_ON(a->s.unread >= SOAP_UNREAD_MAX);
	BUG_ON(a->s.depth > SOAP_DEPTH_MAX + 1);
	BUG_ON(a->s.nns > SOAP_NS_MAX || a->s.matched > a->s.npath);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct said whole = {0}, bytes = {0}, pieces = {0};
	const struct soap_path *what;
	uint32_t seed;
	size_t at, n;

	if (size < 2)
		return 0;
	what = &paths[data[0] % ARRAY_LEN(paths)];
	seed = data[1] + 1;
	data += 2;
	size -= 2;
	soap_init(&whole.s);
	soap_init(&bytes.s);
	soap_init(&pieces.s);
	feed(&whole, what, data, size);
	for (at = 0; at < size; at++)
		feed(&bytes, what, data + at, 1);
	for (at = 0; at < size; at += n) {
		seed = seed * 1103515245 + 12345;
		n = MIN((size_t)(seed >> 16) % 32 + 1, size - at);
		feed(&pieces, what, data + at, n);
	}
	check(&whole, &bytes);
	check(&whole, &pieces);
	return 0;
}
