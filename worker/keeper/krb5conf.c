/*
 * Purpose: give krb5 a configuration that stays, and keep it off disk and net.
 *
 * Runs in: the keeper.
 * Trusts:  the administrator's krb5.conf.
 * Touches: krb5.conf, a memfd, the environment of this process.
 * Failure: -errno with the reason; the old configuration stays.
 */
#include "worker/keeper/krb5conf.h"

#include <errno.h>
#include <fcntl.h>
#include <krb5/krb5.h>
#include <profile.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/base/buf.h"
#include "shm/base/fd.h"
#include "shm/base/log.h"

#define SYSTEM_PATH    "/etc/krb5.conf"
#define FILE_BYTES_MAX (256 * 1024)

/*
 * Comes first, so it wins: an acceptor needs no name service and no file to
 * remember authenticators in (replay.h).
 */
static const char ours[] = "[libdefaults]\n"
			   "\tdns_lookup_kdc = false\n"
			   "\tdns_lookup_realm = false\n"
			   "\tdns_canonicalize_hostname = false\n"
			   "\trdns = false\n"
			   "\tdefault_rcache_name = none:\n";

static struct {
	int fd; /* the copy in force; 0: none yet */
	int skew_s;
	char *system; /* KRB5_CONFIG as we were started with, or NULL */
	char *include[KRB5CONF_INCLUDES_MAX + 1];
} conf;

void
krb5conf_environment(void)
{
	const char *system = getenv("KRB5_CONFIG");

	if (system != NULL)
		conf.system = strdup(system);
	setenv("KRB5RCACHENAME", "none:", 1);
	/* No mechanism but the built-in ones, whatever the host has in
	 * /etc/gss/mech.d: what is not loaded cannot be attacked. */
	setenv("GSS_MECH_CONFIG", "/dev/null", 1);
	unsetenv("KRB5_KTNAME");
	/* A trace would hold keys. */
	unsetenv("KRB5_TRACE");
}

struct slice
krb5conf_include(struct slice line)
{
	static const char *const word[] = {"includedir", "include"};
	struct slice none = {NULL, 0};

	for (size_t i = 0; i < ARRAY_LEN(word); i++) {
		size_t n = strlen(word[i]);

		if (line.len <= n || memcmp(line.p, word[i], n) != 0 ||
		    (line.p[n] != ' ' && line.p[n] != '\t'))
			continue;
		line = (struct slice){line.p + n, line.len - n};
		while (line.len > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
			line = (struct slice){line.p + 1, line.len - 1};
		while (line.len > 0 && (line.p[line.len - 1] == ' ' ||
					line.p[line.len - 1] == '\t' ||
					line.p[line.len - 1] == '\r'))
			line.len--;
		return line.len > 0 && line.p[0] == '/' ? line : none;
	}
	return none;
}

static void
note_includes(struct slice text)
{
	size_t n = 0;

	for (size_t i = 0; i < KRB5CONF_INCLUDES_MAX; i++) {
		free(conf.include[i]);
		conf.include[i] = NULL;
	}
	while (text.len > 0 && n < KRB5CONF_INCLUDES_MAX) {
		const char *nl = memchr(text.p, '\n', text.len);
		size_t len = nl == NULL ? text.len : (size_t)(nl - text.p);
		struct slice path =
		    krb5conf_include((struct slice){text.p, len});

		if (path.len > 0)
			conf.include[n++] = strndup(path.p, path.len);
		len += nl != NULL;
		text = (struct slice){text.p + len, text.len - len};
	}
}

/* Adds one file and a newline, in case its last line has none. */
static int
add_file(struct buf *b, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;
	char *data;
	size_t len;

	if (fd < 0)
		return -errno;
	r = fd_read_all(fd, FILE_BYTES_MAX, &data, &len);
	close(fd);
	if (r != 0)
		return r;
	r = buf_put(b, data, len);
	if (r == 0)
		r = buf_put(b, "\n", 1);
	free(data);
	return r;
}

/* The files of a list with colons, as KRB5_CONFIG may be; as in krb5, one that
 * is missing is fine as long as another is there. */
static int
add_files(struct buf *b, const char *list)
{
	char *copy = strdup(list), *save = NULL, *path;
	int r = copy == NULL ? -ENOMEM : 0, e = -ENOENT;
	bool any = false;

	for (path = r != 0 ? NULL : strtok_r(copy, ":", &save); path != NULL;
	     path = strtok_r(NULL, ":", &save)) {
		e = add_file(b, path);
		any |= e == 0;
		if (e != 0 && e != -ENOENT)
			r = e;
	}
	free(copy);
	return r != 0 ? r : any ? 0 : e;
}

static int
point_at(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return setenv("KRB5_CONFIG", path, 1) != 0 ? -ENOMEM : 0;
}

/* clockskew as krb5 takes it: what is no number, it passes over. */
static int
read_skew(profile_t p)
{
	int s = KRB5CONF_SKEW_S, use;

	if (profile_get_integer(p, "libdefaults", "clockskew", NULL,
				KRB5CONF_SKEW_S, &s) != 0) {
		log_warn("krb5.conf: clockskew is not a number of seconds: "
			 "%d is used",
			 KRB5CONF_SKEW_S);
		return KRB5CONF_SKEW_S;
	}
	use = MAX(0, MIN(s, KRB5CONF_SKEW_MAX_S));
	if (use != s)
		log_warn("krb5.conf: clockskew = %d is not between 0 and %d "
			 "seconds: %d is used",
			 s, KRB5CONF_SKEW_MAX_S, use);
	return use;
}

/* Does krb5 take it?  -EINVAL when it is not one.  skew may be NULL. */
static int
try_it(int *skew)
{
	krb5_context ctx;
	profile_t p;
	int r = -EINVAL;

	if (krb5_init_context(&ctx) != 0)
		return r;
	if (krb5_get_profile(ctx, &p) == 0) {
		if (skew != NULL)
			*skew = read_skew(p);
		profile_release(p);
		r = 0;
	}
	krb5_free_context(ctx);
	return r;
}

/* Points krb5 at a copy of it.  Descriptor; or -errno, and it is pointed at
 * the one in force. */
static int
point_at_copy(const struct buf *b, int *skew)
{
	const uint8_t *p;
	size_t len;
	int fd, r;

	p = buf_peek(b, &len);
	fd = fd_memfd_sealed("krb5.conf", p, len);
	if (fd < 0)
		return fd;
	r = point_at(fd);
	if (r == 0)
		r = try_it(skew);
	if (r == 0)
		return fd;
	close(fd);
	if (conf.fd > 0)
		(void)!point_at(conf.fd);
	return r;
}

/* The same behind its clockskew: krb5 reads an included file for each accept,
 * and what is remembered against replays must go by the same number. */
static int
pin_skew(struct buf *out, const struct buf *b, int skew)
{
	char pin[64];
	const uint8_t *p;
	size_t len;
	int n = snprintf(pin, sizeof(pin), "[libdefaults]\n\tclockskew = %d\n",
			 skew);
	int r = buf_put(out, pin, (size_t)n);

	p = buf_peek(b, &len);
	return r != 0 ? r : buf_put(out, p, len);
}

static int
put_in_force(const struct buf *b)
{
	int first, fd, skew = KRB5CONF_SKEW_S;
	struct buf pinned;
	const uint8_t *p;
	size_t len;

	first = point_at_copy(b, &skew);
	if (first < 0)
		return first;
	buf_init(&pinned, 2 * FILE_BYTES_MAX + 64);
	fd = pin_skew(&pinned, b, skew);
	if (fd == 0)
		fd = point_at_copy(&pinned, NULL);
	else if (conf.fd > 0)
		(void)!point_at(conf.fd);
	buf_fini(&pinned, 0);
	close(first);
	if (fd < 0)
		return fd;
	if (conf.fd > 0)
		close(conf.fd);
	conf.fd = fd;
	conf.skew_s = skew;
	p = buf_peek(b, &len);
	note_includes((struct slice){(const char *)p, len});
	return 0;
}

int
krb5conf_skew_s(void)
{
	return conf.fd > 0 ? conf.skew_s : KRB5CONF_SKEW_S;
}

int
krb5conf_use(const char *path, char *why, size_t why_size)
{
	bool system = path[0] == '\0';
	struct buf b;
	int r;

	if (system)
		path = conf.system != NULL ? conf.system : SYSTEM_PATH;
	buf_init(&b, 2 * FILE_BYTES_MAX);
	r = buf_put(&b, ours, sizeof(ours) - 1);
	if (r == 0)
		r = add_files(&b, path);
	/* A host without krb5.conf: the library's defaults suffice. */
	if (r == -ENOENT && system)
		r = 0;
	if (r == 0)
		r = put_in_force(&b);
	buf_fini(&b, 0);
	if (r != 0)
		snprintf(why, why_size, "%s cannot be read: %s%s", path,
			 strerror(-r),
			 r == -EACCES && conf.fd > 0
			     ? ", restart: it was replaced or moved since"
			     : "");
	return r;
}

const char *const *
krb5conf_includes(void)
{
	return (const char *const *)conf.include;
}
