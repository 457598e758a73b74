/*
 * Any path, SOAPAction and content type, cut at line ends: no path that climbs
 * or hides is a service, and nothing is read beyond its end.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Up to the next line end, in memory of its own. */
static struct slice
take(const char **p, const char *end)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));
	size_t n = (size_t)((nl == NULL ? end : nl) - *p);
	char *copy = malloc(n + 1);
	struct slice s = {copy, n};

	BUG_ON(copy == NULL);
	memcpy(copy, *p, n);
	copy = realloc(copy, n == 0 ? 1 : n);
	BUG_ON(copy == NULL);
	s.p = copy;
	*p += n + (nl != NULL);
	return s;
}

static void
give(struct slice s)
{
	free((void *)(uintptr_t)s.p);
}

/* What a service's path comes to: nothing but case and slashes differ. */
static void
check_path(struct slice path, enum service s)
{
	const char *want = service_path(s);
	size_t at = 0, i = 0;
	char full[160];
	struct sbuf b;

	sbuf_init(&b, full, sizeof(full));
	sbuf_fmt(&b, "/_wmcs/%s", want);
	BUG_ON(b.cut);
	for (; i < path.len; i++) {
		if (path.p[i] == '/' && i > 0 && path.p[i - 1] == '/')
			continue;
		BUG_ON(at >= b.len ||
		       ascii_lower(path.p[i]) != ascii_lower(full[at]));
		at++;
	}
	BUG_ON(at != b.len);
}

static void
check_find(struct slice path)
{
	enum service s = SERVICE_MAX;
	enum path_kind k = service_find(path, SLICE_LIT("/healthz"), &s);

	if (k == PATH_SERVICE) {
		BUG_ON((unsigned)s >= SERVICE_MAX);
		check_path(path, s);
	}
	if (k == PATH_RMSO_URI || k == PATH_SERVICE)
		BUG_ON(memchr(path.p, '%', path.len) != NULL);
	BUG_ON(service_takes_post(path) != (k == PATH_SERVICE));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *end = p + size;
	struct slice path = take(&p, end), action = take(&p, end);
	struct slice type = take(&p, end);

	check_find(path);
	for (int s = 0; s < SERVICE_MAX; s++) {
		enum op o = service_op((enum service)s, action, type);

		BUG_ON((unsigned)o >= OP_MAX);
		BUG_ON((op_name(o)[0] == '\0') != (o == OP_UNKNOWN));
	}
	give(path);
	give(action);
	give(type);
	return 0;
}
