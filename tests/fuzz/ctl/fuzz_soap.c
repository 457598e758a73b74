/*
 * Any answer of a server that rmsctl probes: what is found lies inside of it,
 * the counts agree, and its text can be shown.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "tools/ctl/soap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"faultcode", "faultstring", "Envelope",
				    "URL", "a"};

static void
check_inside(struct slice s, struct slice xml)
{
	if (s.len == 0)
		return;
	BUG_ON(s.p < xml.p || s.p + s.len > xml.p + xml.len);
}

static void
check_element(struct slice xml, const char *name)
{
	struct slice content, tag, value;
	char text[256];
	struct sbuf b;
	size_t pos = 0, last = 0, n = 0;

	while (soap_element(xml, name, &pos, &content, &tag)) {
		BUG_ON(pos <= last || pos > xml.len);
		last = pos;
		n++;
		check_inside(content, xml);
		check_inside(tag, xml);
		BUG_ON(tag.len < 3 || tag.p[0] != '<' ||
		       tag.p[tag.len - 1] != '>');
		value = soap_attr(tag, "id");
		check_inside(value, tag);
		sbuf_init(&b, text, sizeof(text));
		soap_text(&b, content);
		BUG_ON(strnlen(text, sizeof(text)) == sizeof(text));
	}
	BUG_ON(soap_count(xml, name) != n);
	BUG_ON(n == 0 && soap_first(xml, name).len != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL || size > 65536) {
		free(copy);
		return 0;
	}
	if (size > 0)
		memcpy(copy, data, size);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		check_element((struct slice){copy, size}, names[i]);
	free(copy);
	return 0;
}
