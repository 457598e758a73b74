/*
 * Any text as rms-connector.conf: it is taken or refused with at least one
 * whole line of error, and what was taken is within its bounds.
 */
#include <errno.h>
#include <stdlib.h>

#include "conf/conf_file.h"
#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_taken(const struct conf *c)
{
	size_t n, nl;
	const struct conf_row *t = conf_rows(&n), *l = conf_listener_rows(&nl);

	BUG_ON(c->nlisteners > CONF_LISTENERS_MAX);
	for (size_t i = 0; i < n; i++)
		BUG_ON(!conf_row_ok(&t[i], c));
	for (size_t k = 0; k < c->nlisteners; k++)
		for (size_t i = 0; i < nl; i++)
			BUG_ON(!conf_row_ok(&l[i], &c->listener[k]));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf c;
	static struct conf_errors e;
	char *text;
	int r;

	if (size > 65536 || (text = malloc(size + 1)) == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	r = conf_file_parse("f", text, &c, &e);
	if (r == 0) {
		BUG_ON(e.n != 0);
		check_taken(&c);
	} else {
		BUG_ON(r != -EINVAL || e.n == 0);
	}
	for (size_t i = 0; i < MIN(e.n, ARRAY_LEN(e.text)); i++)
		BUG_ON(strncmp(e.text[i], "f:", 2) != 0 ||
		       strchr(e.text[i], '\n') != NULL);
	free(text);
	return 0;
}
