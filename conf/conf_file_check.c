/*
 * Purpose: check what the configuration points to, before it is in force.
 *
 * Runs in: master, rmsctl.
 * Trusts:  nobody: the files are whatever is on the disk.
 * Touches: the files named, which are only read; keys are wiped.
 * Failure: errors by line; nothing is changed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_file_checks.h"
#include "conf/conf_keytab.h"
#include "conf/conf_ntlm.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define PEM_BYTES_MAX	  1048576
#define SEALING_KEY_BYTES 32

void
check_node_spot(struct check *k, const char *name, struct spot *s_r)
{
	size_t n;
	const struct conf_row *t = conf_rows(&n),
			      *row = conf_row_find(t, n, name);

	BUG_ON(row == NULL);
	*s_r = (struct spot){k, name, k->lines.node[row - t]};
}

/* text holds what the spot points to. */
void
check_listener_spot(struct check *k, size_t i, const char *name, char *text,
		    size_t size, struct spot *s_r)
{
	size_t n;
	const struct conf_row *t = conf_listener_rows(&n),
			      *row = conf_row_find(t, n, name);
	struct sbuf b;

	BUG_ON(row == NULL);
	sbuf_init(&b, text, size);
	sbuf_fmt(&b, "listener %s: %s", k->c->listener[i].name, name);
	*s_r = (struct spot){k, text, k->lines.listener[i].row[row - t]};
	if (s_r->line == 0)
		s_r->line = k->lines.listener[i].start;
}

/* why is "why, what would do". */
void
check_fault(const struct spot *s, const char *value, const char *why)
{
	if (value[0] == '\0')
		conf_errors_add(s->k->e, s->k->path, s->line, "%s: %s", s->what,
				why);
	else
		conf_errors_add(s->k->e, s->k->path, s->line, "%s = %.200s: %s",
				s->what, value, why);
}

void
check_warn(const struct spot *s, const char *value, const char *why)
{
	struct conf_errors *e = s->k->e;
	struct sbuf b;

	if (e->nwarn >= ARRAY_LEN(e->warn))
		return;
	sbuf_init(&b, e->warn[e->nwarn], sizeof(e->warn[0]));
	e->nwarn++;
	if (s->line > 0)
		sbuf_fmt(&b, "%s:%u: ", s->k->path, s->line);
	else
		sbuf_fmt(&b, "%s: ", s->k->path);
	sbuf_fmt(&b, "%s = %.200s: %s", s->what, value, why);
}

static void
fault_errno(const struct spot *s, const char *value, int err)
{
	char why[128];

	snprintf(why, sizeof(why), "%s, correct the path or its mode",
		 err == ENOENT ? "no such file" : strerror(err));
	check_fault(s, value, why);
}

/* --- files ------------------------------------------------------------- */

/*
 * Reads a file that the directive names; private: nobody but its owner may
 * reach it.  NULL after a report.  The caller frees, and wipes len bytes.
 */
char *
check_read(const struct spot *s, const char *file, size_t max, bool private,
	   size_t *len_r)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r;
	char *data = NULL;
	struct stat st;

	if (fd < 0) {
		fault_errno(s, file, errno);
		return NULL;
	}
	if (fstat(fd, &st) != 0) {
		fault_errno(s, file, errno);
	} else if (private && (st.st_mode & 077) != 0) {
		check_fault(s, file,
			    "group or others may reach it, it is a secret, "
			    "chmod 600");
	} else {
		r = fd_read_all(fd, max, &data, len_r);
		if (r == -EFBIG)
			check_fault(s, file,
				    "far too large, name the right file");
		else if (r == -EINVAL)
			check_fault(s, file,
				    "not a regular file, name the file");
		else if (r != 0)
			fault_errno(s, file, -r);
	}
	fd_close(&fd);
	return data;
}

void
check_wipe_free(char *data, size_t len)
{
	if (data != NULL)
		str_wipe(data, len);
	free(data);
}

/* May something be made in the directory that path is in? */
static int
can_make_in(const char *path)
{
	char up[CONF_TEXT_MAX];
	char *slash;

	if (str_copy(up, sizeof(up), slice_of(path)) != 0)
		return -ENAMETOOLONG;
	slash = strrchr(up, '/');
	if (slash == NULL)
		return -EINVAL;
	slash[slash == up ? 1 : 0] = '\0';
	return faccessat(AT_FDCWD, up, W_OK | X_OK, AT_EACCESS) == 0 ? 0
								     : -errno;
}

/* May the directory be made or written?  One level may be missing. */
static int
can_make_dir(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno == ENOENT ? can_make_in(path) : -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0 ? 0
								       : -errno;
}

static void
fault_make(const struct spot *s, const char *path, int err)
{
	char why[128];

	snprintf(why, sizeof(why),
		 "cannot be made or written, %s, make its directory or correct "
		 "the path",
		 strerror(err));
	check_fault(s, path, why);
}

static void
check_dir(struct check *k, const char *name, const char *path)
{
	struct spot s;
	int r = path[0] == '\0' ? 0 : can_make_dir(path);

	if (r == 0)
		return;
	check_node_spot(k, name, &s);
	fault_make(&s, path, -r);
}

/*
 * A log: a regular file that can be appended to, or one that can be made.  A
 * device or a directory takes no lines; a FIFO loses them while nobody reads,
 * and one whose reader is slow would hold up who writes.
 */
static void
check_log(struct check *k, const char *name, const char *path)
{
	struct stat st;
	struct spot s;
	int fd, r;

	if (path[0] == '\0')
		return;
	check_node_spot(k, name, &s);
	if (stat(path, &st) != 0) {
		r = errno == ENOENT ? can_make_in(path) : -errno;
		if (r != 0)
			fault_make(&s, path, -r);
	} else if (S_ISDIR(st.st_mode)) {
		check_fault(&s, path, "Is a directory, name a regular file");
	} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		check_fault(
		    &s, path,
		    "a device, lines would be lost, name a regular file, or "
		    "none");
	} else if (!S_ISREG(st.st_mode)) {
		check_fault(&s, path,
			    "a FIFO or socket, lines would be lost when nobody "
			    "reads, name a regular file");
	} else {
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY |
				    O_NONBLOCK);
		if (fd < 0)
			fault_make(&s, path, errno);
		fd_close(&fd);
	}
}

/* The directory of a file, itself made or writable. */
static void
check_dir_of(struct check *k, const char *name, const char *path)
{
	char up[CONF_TEXT_MAX];
	char *slash;

	if (str_copy(up, sizeof(up), slice_of(path)) != 0)
		return;
	slash = strrchr(up, '/');
	if (slash == NULL)
		return;
	slash[slash == up ? 1 : 0] = '\0';
	check_dir(k, name, up);
}

/* Judges what a file of the node holds: NULL, or why it is of no use. */
typedef const char *check_judge(const char *data, size_t len);

/* A file that nobody else may read, named by a directive of the node.  What is
 * read of it is wiped. */
static void
check_secret(struct check *k, const char *name, const char *path, size_t max,
	     check_judge *judge)
{
	const char *why = NULL;
	struct spot s;
	size_t len = 0;
	char *data;

	if (path[0] == '\0')
		return;
	check_node_spot(k, name, &s);
	data = check_read(&s, path, max, true, &len);
	if (data != NULL)
		why = judge(data, len);
	if (why != NULL)
		check_fault(&s, path, why);
	check_wipe_free(data, len);
}

static const char *
judge_sealing_key(const char *data UNUSED, size_t len)
{
	return len == SEALING_KEY_BYTES
		   ? NULL
		   : "not a key of 32 bytes, restore the right file";
}

static void
check_sealing_key(struct check *k)
{
	const char *path = k->c->sealing_key_file.s;

	if (access(path, F_OK) != 0 && errno == ENOENT) {
		check_dir_of(k, "sealing_key_file", path);
		return;
	}
	check_secret(k, "sealing_key_file", path, 4096, judge_sealing_key);
}

static const char *
judge_ticket_secret(const char *data UNUSED, size_t len)
{
	return len >= CONF_TICKET_SECRET_MIN
		   ? NULL
		   : "shorter than 32 bytes, it could be guessed, make one "
		     "with head -c 32 /dev/urandom";
}

static void
check_libexec(struct check *k)
{
	static const char *const child[] = {"rms-relay", "rms-keeper",
					    "rms-cloud", "rms-ntlm"};
	const char *dir = k->c->libexec_dir.s;
	char file[CONF_TEXT_MAX + 16], why[128];
	struct spot s;

	if (dir[0] == '\0')
		return;
	check_node_spot(k, "libexec_dir", &s);
	for (size_t i = 0; i < ARRAY_LEN(child); i++) {
		snprintf(file, sizeof(file), "%s/%s", dir, child[i]);
		if (faccessat(AT_FDCWD, file, X_OK, AT_EACCESS) == 0)
			continue;
		snprintf(why, sizeof(why),
			 "no %s to run in it, %s, correct the path", child[i],
			 strerror(errno));
		check_fault(&s, dir, why);
		return;
	}
}

static const char *
judge_keytab(const char *data, size_t len)
{
	const char *why = NULL;

	return conf_keytab_walk(data, len, NULL, NULL, &why) < 0 ? why : NULL;
}

static void
check_ntlm(struct check *k)
{
	struct spot s;

	if (k->c->ntlm && !conf_ntlm_installed()) {
		check_node_spot(k, "ntlm", &s);
		check_fault(
		    &s, "true",
		    "this host has no GSSAPI mechanism for NTLM, install "
		    "gss-ntlmssp, or switch it off");
	}
	check_secret(k, "ntlm_user_file", k->c->ntlm_user_file.s,
		     CONF_NTLM_USERS_BYTES_MAX, conf_ntlm_users);
}

static void
check_readable(struct check *k, const char *name, const char *path)
{
	struct spot s;
	size_t len;

	if (path[0] == '\0')
		return;
	check_node_spot(k, name, &s);
	free(check_read(&s, path, PEM_BYTES_MAX, false, &len));
}

/* --- the rest ---------------------------------------------------------- */

static bool
same_address(const char *a, const char *b)
{
	unsigned char x[16], y[16];

	if (inet_pton(AF_INET, a, x) == 1)
		return inet_pton(AF_INET, b, y) == 1 && memcmp(x, y, 4) == 0;
	return inet_pton(AF_INET6, a, x) == 1 &&
	       inet_pton(AF_INET6, b, y) == 1 && memcmp(x, y, 16) == 0;
}

static void
check_listeners(struct check *k)
{
	const struct conf_listener *l = k->c->listener;
	char text[128];
	struct spot s;

	if (k->c->nlisteners == 0)
		conf_errors_add(
		    k->e, k->path, 0,
		    "no listener, nobody could connect, add listener NAME "
		    "{ }");
	for (size_t i = 0; i < k->c->nlisteners; i++) {
		check_certs(k, i);
		for (size_t j = 0; j < i; j++) {
			if (l[i].port != l[j].port ||
			    !same_address(l[i].address.s, l[j].address.s))
				continue;
			check_listener_spot(k, i, "port", text, sizeof(text),
					    &s);
			conf_errors_add(
			    k->e, k->path, s.line,
			    "%s: %lld on %s is listener %s's already, choose "
			    "another",
			    s.what, (long long)l[i].port, l[i].address.s,
			    l[j].name);
		}
	}
}

static void
check_accounts(struct check *k)
{
	const char *user = k->c->user.s, *group = k->c->control_group.s;
	struct spot s;

	if (user[0] != '\0' && getpwnam(user) == NULL) {
		check_node_spot(k, "user", &s);
		check_fault(&s, user,
			    "no such account, create it or correct the "
			    "name");
	}
	if (group[0] != '\0' && getgrnam(group) == NULL) {
		check_node_spot(k, "control_group", &s);
		check_fault(&s, group,
			    "no such group, create it or correct the "
			    "name");
	}
}

int
conf_file_check(const char *path, const struct conf *c, struct conf_errors *e_r)
{
	struct check k = {.path = path, .c = c, .e = e_r};
	struct conf_errors *scrap = calloc(1, sizeof(*scrap));
	struct conf *again = calloc(1, sizeof(*again));
	struct spot s;

	memset(e_r, 0, sizeof(*e_r));
	/* Only for the lines; without them the errors are as true. */
	if (scrap == NULL || again == NULL ||
	    conf_file_lines(path, again, scrap, &k.lines) != 0)
		memset(&k.lines, 0, sizeof(k.lines));
	free(scrap);
	free(again);

	check_listeners(&k);
	check_accounts(&k);
	check_dir(&k, "state_dir", c->state_dir.s);
	check_dir_of(&k, "control_socket", c->control_socket.s);
	check_libexec(&k);
	check_sealing_key(&k);
	check_secret(&k, "tls_ticket_secret_file", c->tls_ticket_secret_file.s,
		     CONF_TICKET_SECRET_MAX, judge_ticket_secret);
	check_secret(&k, "keytab", c->keytab.s, CONF_KEYTAB_BYTES_MAX,
		     judge_keytab);
	check_ntlm(&k);
	check_readable(&k, "krb5_config", c->krb5_config.s);
	check_log(&k, "event_log", c->event_log.s);
	check_log(&k, "access_log", c->access_log.s);
	check_cloud_ca(&k);
	if (c->dns_ttl_min_ms > c->dns_ttl_max_ms) {
		check_node_spot(&k, "dns_ttl_min_ms", &s);
		check_fault(&s, "",
			    "more than dns_ttl_max_ms, no time would fit, "
			    "lower it");
	}
	return e_r->n > 0 ? -EINVAL : 0;
}
