/*
 * Any bytes as a CONF_VIEW body, the first one choosing the role: refused
 * with the defaults, or taken and then packed to the same bytes again.
 */
#include "conf/conf.h"
#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf c;
	static uint8_t again[65536];
	enum role role;

	if (size < 1)
		return 0;
	role = (enum role)(1 + data[0] % 3);
	if (conf_view_unpack(&c, role, data + 1, size - 1) != 0)
		return 0;
	BUG_ON(conf_view_pack(&c, role, again, sizeof(again)) != size - 1 ||
	       memcmp(again, data + 1, size - 1) != 0);
	return 0;
}
