/*
 * Any bytes as a keytab: refused with a reason, or walked to the end with
 * principals that are text and no longer than they may be.
 */
#include "conf/conf_keytab.h"
#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
each(void *arg, const struct conf_keytab_entry *e)
{
	int *n = arg;

	BUG_ON(strlen(e->principal) >= sizeof(e->principal));
	BUG_ON(strchr(e->principal, '@') == NULL &&
	       strlen(e->principal) + 1 < sizeof(e->principal));
	(*n)++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why;
	int n = 0, r = conf_keytab_walk(data, size, each, &n, &why);

	BUG_ON(r < 0 ? why == NULL : r != n || n == 0);
	return 0;
}
