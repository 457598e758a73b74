/*
 * Any bytes as a CONF_VIEW body: refused with the defaults, or taken and then
 * packed to the same bytes again.
 *
 * Input: a byte that chooses the role, then changes of three bytes each to the
 * view of a configuration with two listeners: offset u16 little-endian, modulo
 * its length, and the byte that is there instead.  So no seed is out of date
 * when a directive is added.  With 0xff behind the role the rest is taken as
 * it is, behind the number of the layout, which no fuzzer would find.
 */
#include <stdlib.h>

#include "conf/conf.h"
#include "shm/base/log.h"

#define LAYOUT_BYTES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t view[65536];

static size_t
pack(enum role role)
{
	static struct conf c;

	conf_defaults(&c);
	c.nlisteners = 2;
	for (size_t i = 0; i < c.nlisteners; i++) {
		conf_listener_defaults(&c.listener[i]);
		snprintf(c.listener[i].name, sizeof(c.listener[i].name), "l%zu",
			 i);
	}
	return conf_view_pack(&c, role, view, sizeof(view));
}

static size_t
change(const uint8_t *p, size_t size, size_t len)
{
	for (; size >= 3; p += 3, size -= 3)
		view[((size_t)p[0] | (size_t)p[1] << 8) % len] = p[2];
	return size > 0 ? len - p[0] % len : len; /* cut, too */
}

static size_t
replace(const uint8_t *p, size_t size)
{
	size = MIN(size, sizeof(view) - LAYOUT_BYTES);
	memcpy(view + LAYOUT_BYTES, p, size);
	return LAYOUT_BYTES + size;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum role roles[] = {ROLE_RELAY, ROLE_KEEPER, ROLE_CLOUD,
					  ROLE_NTLM};
	static uint8_t again[sizeof(view)];
	static struct conf c;
	enum role role;
	uint8_t *copy;
	size_t len;

	if (size < 2)
		return 0;
	role = roles[data[0] % ARRAY_LEN(roles)];
	len = pack(role);
	BUG_ON(len <= LAYOUT_BYTES);
	len = data[1] == 0xff ? replace(data + 2, size - 2)
			      : change(data + 1, size - 1, len);
	copy = malloc(len); /* of its own: a read beyond it is seen */
	BUG_ON(copy == NULL);
	memcpy(copy, view, len);
	if (conf_view_unpack(&c, role, copy, len) == 0)
		BUG_ON(conf_view_pack(&c, role, again, sizeof(again)) != len ||
		       memcmp(again, copy, len) != 0);
	free(copy);
	return 0;
}
