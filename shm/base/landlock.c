/*
 * Purpose: limit a process to the files that it needs.
 *
 * Runs in: every child, once.
 * Trusts:  its caller for the paths.
 * Touches: the process's Landlock domain.
 * Failure: -errno; -EOPNOTSUPP where the kernel has none.
 *
 * Debian 12's headers know ABI 2; the kernel may know more.  So the newer
 * numbers stand here, and a right is only asked of a kernel that has it.
 */
#include "shm/base/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/base/log.h"

#define FS_ABI1	    ((UINT64_C(1) << 13) - 1) /* execute ... make symlink */
#define FS_REFER    (UINT64_C(1) << 13)	      /* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)	      /* ABI 3 */
#define FS_IOCTL    (UINT64_C(1) << 15)	      /* ABI 5: of devices */
#define SCOPES	    UINT64_C(3) /* ABI 6: abstract sockets, signals */

/* struct landlock_ruleset_attr as of ABI 6. */
struct landlock_attr {
	uint64_t handled_fs;
	uint64_t handled_net; /* ABI 4; seccomp already sees to that */
	uint64_t scoped;
};

static struct landlock_attr
landlock_attr(int abi, size_t *size_r)
{
	struct landlock_attr a = {.handled_fs = FS_ABI1};

	*size_r = abi >= 6 ? sizeof(a) : offsetof(struct landlock_attr, scoped);
	if (abi < 4)
		*size_r = offsetof(struct landlock_attr, handled_net);
	if (abi >= 2)
		a.handled_fs |= FS_REFER;
	if (abi >= 3)
		a.handled_fs |= FS_TRUNCATE;
	if (abi >= 5)
		a.handled_fs |= FS_IOCTL;
	if (abi >= 6)
		a.scoped = SCOPES;
	return a;
}

static uint64_t
landlock_rights(bool write, bool dir)
{
	uint64_t r = LANDLOCK_ACCESS_FS_READ_FILE;

	if (dir)
		r |= LANDLOCK_ACCESS_FS_READ_DIR;
	if (write)
		r |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
	if (write && dir)
		r |= LANDLOCK_ACCESS_FS_MAKE_REG |
		     LANDLOCK_ACCESS_FS_REMOVE_FILE;
	return r;
}

static int
landlock_add(int ruleset, const char *path, uint64_t handled)
{
	struct landlock_path_beneath_attr rule;
	bool write = path[0] == '+';
	struct stat st;
	int fd, r = 0;

	fd = open(path + (write ? 1 : 0), O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES
			   ? 0
			   : -errno;
	if (fstat(fd, &st) != 0) {
		r = -errno;
	} else {
		rule = (struct landlock_path_beneath_attr){
		    .allowed_access =
			handled & landlock_rights(write, S_ISDIR(st.st_mode)),
		    .parent_fd = fd};
		if (syscall(SYS_landlock_add_rule, ruleset,
			    LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
			r = -errno;
	}
	close(fd);
	return r;
}

int
landlock_enter(const char *const *paths)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_attr attr;
	size_t size;
	int fd, r = 0;

	/* Not built in, or not switched on at boot. */
	if (abi < 1)
		return -EOPNOTSUPP;
	attr = landlock_attr((int)abi, &size);
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; r == 0 && paths != NULL && paths[i] != NULL; i++)
		r = landlock_add(fd, paths[i], attr.handled_fs);
	if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
		r = -errno;
	close(fd);
	return r;
}
