/*
 * Purpose: give up rights for good: identity, capabilities, system calls.
 *
 * Runs in: every child, once, before its first byte from elsewhere.
 * Trusts:  the configuration (user), its caller (paths).
 * Touches: the process's credentials, limits and filters.
 * Failure: -errno; the caller ends, for a half-closed sandbox is none.
 */
#include "shm/base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/base/landlock.h"
#include "shm/base/log.h"

static bool
sandbox_is_off(void)
{
	const char *v = getenv("RMS_SANDBOX");

	return v != NULL && strcmp(v, "off") == 0;
}

/* --- identity ------------------------------------------------------------ */

/* Root becomes user, and cannot come back. */
static int
sandbox_become(const char *user, const char *group, const char **note_r)
{
	const struct passwd *pw;
	const struct group *gr = NULL;
	gid_t kept[1];

	errno = 0;
	pw = getpwnam(user);
	if (pw == NULL)
		return errno != 0 ? -errno : -ENOENT;
	if (pw->pw_uid == 0)
		return -EINVAL;
	if (group != NULL)
		gr = getgrnam(group);
	if (group != NULL && gr == NULL)
		*note_r = "the group to be kept does not exist";
	/* No supplementary groups but that one: what a child may have, it is
	 * handed. */
	kept[0] = gr == NULL ? 0 : gr->gr_gid;
	if (setgroups(gr == NULL ? 0 : 1, kept) != 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		return -errno;
	BUG_ON(setuid(0) == 0 || geteuid() == 0);
	return 0;
}

/* Root's, when no user is configured; or what a service manager has given us
 * (to bind low ports). */
static int
sandbox_drop_caps(void)
{
	struct __user_cap_header_struct head = {
	    .version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		return -errno;
	return syscall(SYS_capset, &head, none) != 0 ? -errno : 0;
}

int
sandbox_drop(const char *user, const char *group, const char **note_r)
{
	const struct rlimit none = {0, 0};
	int r = 0;

	*note_r = NULL;
	if (user != NULL && user[0] == '\0')
		user = NULL;
	if (group != NULL && group[0] == '\0')
		group = NULL;
	if (geteuid() == 0 && user != NULL)
		r = sandbox_become(user, group, note_r);
	else if (geteuid() == 0)
		*note_r = "no user is configured: running on as root";
	else if (user != NULL)
		*note_r = "not started as root: the user stays as it is";
	if (r == 0)
		r = sandbox_drop_caps();
	if (r != 0)
		return r;
	if (setrlimit(RLIMIT_CORE, &none) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	/* After setuid(), which sets it anew.  Leak checkers trace. */
	if (!sandbox_is_off() && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return -errno;
	return 0;
}

/* --- system calls --------------------------------------------------------- */

/* A pseudo role in sandbox.def: may write to some directory. */
#define SANDBOX_WRITER ROLE_BIT(ROLE_MAX)

enum sandbox_cond { COND_ANY, COND_IS, COND_HAS, COND_HAS_NOT, COND_SELF };

struct sandbox_rule {
	unsigned roles;
	int call;
	uint32_t action;
	enum sandbox_cond cond;
	unsigned arg;
	uint64_t value;
};

#define ANY	      COND_ANY, 0, 0
#define IS(n, v)      COND_IS, n, (uint64_t)(v)
#define HAS(n, v)     COND_HAS, n, (uint64_t)(v)
#define HAS_NOT(n, v) COND_HAS_NOT, n, (uint64_t)(v)
#define SELF(n)	      COND_SELF, n, 0
#define ALLOW(roles, name, ...) \
	{roles, SCMP_SYS(name), SCMP_ACT_ALLOW, __VA_ARGS__},
#define REFUSE(roles, name, ...) REFUSE_(roles, name, __VA_ARGS__)
#define REFUSE_(roles, name, cond, arg, value, err) \
	{roles, SCMP_SYS(name), SCMP_ACT_ERRNO(err), cond, arg, value},

static const struct sandbox_rule sandbox_rules[] = {
#include "shm/base/sandbox.def"
};

/* libseccomp's comparison for a condition; how many there are (0 or 1). */
static unsigned
sandbox_cmp(const struct sandbox_rule *r, struct scmp_arg_cmp *cmp_r)
{
	*cmp_r = (struct scmp_arg_cmp){.arg = r->arg, .op = SCMP_CMP_EQ};
	switch (r->cond) {
	case COND_ANY:
		return 0;
	case COND_IS:
		cmp_r->datum_a = r->value;
		break;
	case COND_SELF:
		cmp_r->datum_a = (uint64_t)getpid();
		break;
	case COND_HAS:
	case COND_HAS_NOT:
		cmp_r->op = SCMP_CMP_MASKED_EQ;
		cmp_r->datum_a = r->value;
		cmp_r->datum_b = r->cond == COND_HAS ? r->value : 0;
		break;
	default:
		bug_die(__FILE__, __LINE__, "unknown condition");
	}
	return 1;
}

static int
sandbox_add_rules(scmp_filter_ctx ctx, unsigned roles)
{
	for (size_t i = 0; i < ARRAY_LEN(sandbox_rules); i++) {
		const struct sandbox_rule *rule = &sandbox_rules[i];
		struct scmp_arg_cmp cmp;
		unsigned n = sandbox_cmp(rule, &cmp);
		int r;

		if ((rule->roles & roles) == 0)
			continue;
		r = seccomp_rule_add_array(ctx, rule->action, rule->call, n,
					   &cmp);
		/* A call allowed already, without a condition. */
		if (r != 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

static int
sandbox_seccomp(unsigned roles)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (ctx == NULL)
		return -ENOMEM;
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
			     SCMP_ACT_KILL_PROCESS);
	/* Threads that a library made already are in it too. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A tree: few comparisons for the calls outside of the bitmap. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = sandbox_add_rules(ctx, roles);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

int
sandbox_enter(enum role role, const char *const *readable, const char **note_r)
{
	unsigned roles = ROLE_BIT(role);
	int r;

	*note_r = NULL;
	if (role == ROLE_MASTER) {
		*note_r = "the master has no system-call filter";
		return 0;
	}
	if (role != ROLE_RELAY && role != ROLE_KEEPER && role != ROLE_CLOUD &&
	    role != ROLE_NTLM)
		return -EINVAL;
	if (sandbox_is_off()) {
		*note_r = "RMS_SANDBOX=off: no sandbox; not for production";
		return 0;
	}
	for (size_t i = 0; readable != NULL && readable[i] != NULL; i++) {
		if (role == ROLE_RELAY)
			return -EINVAL;
		if (readable[i][0] != '+')
			continue;
		if (role != ROLE_KEEPER)
			return -EINVAL;
		roles |= SANDBOX_WRITER;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	r = landlock_enter(readable);
	if (r == -EOPNOTSUPP)
		*note_r = "this kernel has no Landlock: files are limited by "
			  "system calls and permissions only";
	else if (r != 0)
		return r;
	return sandbox_seccomp(roles);
}
