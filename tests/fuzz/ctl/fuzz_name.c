/*
 * Feeds arbitrary names to what makes filters of them: whatever is in a name,
 * the filter keeps its shape.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/dirname.h"

#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many brackets as the form has, and no other sign of a filter. */
static void
check_shape(const char *filter, size_t brackets)
{
	size_t open = 0, close = 0;

	for (const char *p = filter; *p != '\0'; p++) {
		open += *p == '(';
		close += *p == ')';
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f ||
		    (*p == '*' && strncmp(p - 1, "=*)", 3) != 0))
			abort();
	}
	if (open != brackets || close != brackets)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t brackets[] = {
	    [DIRNAME_SAM] = 6,
	    [DIRNAME_NETBIOS] = 4,
	    [DIRNAME_UPN] = 5,
	    [DIRNAME_DN] = 4,
	};
	static char mem[DIRFILTER_MAX];
	char err[DIRNAME_ERR_MAX] = "", sid[DIRSID_MAX], domain[256];
	char *text = malloc(size + 1);
	struct dirname n;
	struct sbuf b;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)dirname_is_plain(text);
	dirname_domain_of(text, domain);
	if (dirsid_text(data, size, sid) == 0 && strncmp(sid, "S-1-", 4) != 0)
		abort();
	if (dirname_parse(text, &n, err) != 0) {
		if (err[0] == '\0')
			abort();
	} else {
		sbuf_init(&b, mem, sizeof(mem));
		dirfilter_name(&b, &n);
		if (b.cut)
			abort();
		check_shape(mem, brackets[n.form]);
		sbuf_init(&b, mem, sizeof(mem));
		dirfilter_members(&b, n.name, "S-1-5-21-1-2-3-4");
		if (b.cut)
			abort();
		check_shape(mem, 5);
	}
	free(text);
	return 0;
}
