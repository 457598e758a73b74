/*
 * Purpose: directives that name several files, separated by commas.
 *
 * Runs in: master, rmsctl.
 * Trusts:  no text.
 * Touches: nothing.
 * Failure: a reason; false behind the end of a list.
 */
#include "conf/check.h"
#include "conf/conf.h"
#include "shm/base/log.h"

bool
conf_path_at(const struct conf_text *list, size_t place,
	     char path_r[CONF_TEXT_MAX])
{
	const char *p = list->s;
	struct slice s;

	path_r[0] = '\0';
	for (; place > 0; place--) {
		p = strchr(p, ',');
		if (p == NULL)
			return false;
		p++;
	}
	s = check_trim((struct slice){p, strcspn(p, ",")});
	return s.len > 0 && str_copy(path_r, CONF_TEXT_MAX, s) == 0;
}

size_t
conf_paths(const struct conf_text *list)
{
	char path[CONF_TEXT_MAX];
	size_t n = 0;

	while (conf_path_at(list, n, path))
		n++;
	return n;
}

const char *
check_paths(const char *s)
{
	size_t n = 0;

	for (const char *p = s;; p++) {
		struct slice one =
		    check_trim((struct slice){p, strcspn(p, ",")});

		if (one.len == 0 || one.p[0] != '/')
			return "not absolute paths separated by commas, begin "
			       "each with /";
		if (++n > CONF_CERTS_MAX)
			return "more than 8 files, name fewer, or make "
			       "another listener";
		p += strcspn(p, ",");
		if (*p == '\0')
			return NULL;
	}
}
