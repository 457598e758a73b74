/*
 * Purpose: look at what NTLM needs, before it is switched on.
 *
 * Runs in: master, rmsctl.
 * Trusts:  the host's /etc/gss; of the accounts nothing but their shape.
 * Touches: /etc/gss, read only; the caller wipes the accounts.
 * Failure: a reason in words.
 */
#include "conf/conf_ntlm.h"

#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/fd.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

#define MECH_OID       "1.3.6.1.4.1.311.2.2.10" /* MS-NLMP, NTLMSSP */
#define MECH_BYTES_MAX 65536
/* What the plug-in's reader takes of a line. */
#define LINE_MAX_BYTES 1000

/* Takes the line at the front of *rest, without its end. */
static struct slice
take_line(struct slice *rest)
{
	const char *nl = memchr(rest->p, '\n', rest->len);
	size_t n = nl == NULL ? rest->len : (size_t)(nl - rest->p);
	struct slice line = {rest->p, n};

	rest->p += nl == NULL ? n : n + 1;
	rest->len -= nl == NULL ? n : n + 1;
	return line;
}

/* NAME OID LIBRARY ... */
static bool
names_ntlm(struct slice line)
{
	const size_t n = sizeof(MECH_OID) - 1;

	if (line.len == 0 || line.p[0] == '#')
		return false;
	for (size_t i = 1; i + n < line.len; i++) {
		char before = line.p[i - 1], after = line.p[i + n];

		if (memcmp(line.p + i, MECH_OID, n) == 0 &&
		    (before == ' ' || before == '\t') &&
		    (after == ' ' || after == '\t'))
			return true;
	}
	return false;
}

static bool
file_names_ntlm(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct slice rest;
	char *data = NULL;
	size_t len = 0;
	bool found = false;

	if (fd < 0)
		return false;
	if (fd_read_all(fd, MECH_BYTES_MAX, &data, &len) == 0) {
		rest = (struct slice){data, len};
		while (rest.len > 0 && !found)
			found = names_ntlm(take_line(&rest));
	}
	free(data);
	fd_close(&fd);
	return found;
}

bool
conf_ntlm_installed(void)
{
	bool found = file_names_ntlm("/etc/gss/mech");
	glob_t g;

	if (found || glob("/etc/gss/mech.d/*.conf", 0, NULL, &g) != 0)
		return found;
	for (size_t i = 0; i < g.gl_pathc && !found; i++)
		found = file_names_ntlm(g.gl_pathv[i]);
	globfree(&g);
	return found;
}

const char *
conf_ntlm_users(const char *data, size_t len)
{
	struct slice rest = {data, len};
	size_t n = 0;

	while (rest.len > 0) {
		struct slice line = take_line(&rest), user;
		const char *c;

		if (line.len == 0 || line.p[0] == '#')
			continue;
		c = memchr(line.p, ':', line.len);
		if (c == NULL || c == line.p)
			return "a line does not begin with a domain, write "
			       "DOMAIN:user:password";
		user =
		    (struct slice){c + 1, line.len - (size_t)(c + 1 - line.p)};
		c = user.len == 0 ? NULL : memchr(user.p, ':', user.len);
		if (c == NULL || c == user.p || c + 1 == user.p + user.len)
			return "a line has no user or no password, write "
			       "DOMAIN:user:password";
		if (line.len > LINE_MAX_BYTES)
			return "a line is too long, use a shorter password";
		n++;
	}
	return n > 0 ? NULL : "no account in it, add one or remove the line";
}
