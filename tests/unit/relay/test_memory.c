/*
 * When memory is short: by the process's own figure, and by a control group
 * of either version, laid out as the kernel does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "worker/relay/memory.h"

#define MIB (UINT64_C(1) << 20)

static char root[64];
static struct memory m;

static int
setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/test_memory.XXXXXX");
	return mkdtemp(root) == NULL ? -1 : 0;
}

static int
drop(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	memory_close(&m);
	return nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file below the root, and its directories. */
static void
put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *p = strchr(full + strlen(root) + 1, '/'); p != NULL;
	     p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static struct memory_now
look(void)
{
	struct memory_now now;

	memory_close(&m);
	memory_open(&m, root);
	memory_read(&m, &now);
	return now;
}

static void
test_version_2(void **state)
{
	struct memory_now now;

	(void)state;
	put("/proc/self/statm", "1000 300 200 1 0 400 0\n");
	put("/proc/self/cgroup", "0::/system.slice/rms.service\n");
	put("/sys/fs/cgroup/system.slice/rms.service/memory.current",
	    "104857600\n");
	put("/sys/fs/cgroup/system.slice/rms.service/memory.max", "max\n");
	put("/sys/fs/cgroup/system.slice/rms.service/memory.stat",
	    "anon 1\nfile 2\ninactive_anon 3\nactive_file 4\n"
	    "inactive_file 20971520\n");
	now = look();
	assert_int_equal(now.rss, 300 * (uint64_t)sysconf(_SC_PAGESIZE));
	assert_int_equal(now.limit, 0);
	put("/sys/fs/cgroup/system.slice/rms.service/memory.max",
	    "209715200\n");
	now = look();
	assert_int_equal(now.limit, 200 * MIB);
	assert_int_equal(now.group, 80 * MIB);
}

/* In a container: the mount is the group. */
static void
test_version_2_root(void **state)
{
	struct memory_now now;

	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/memory.current", "1048576\n");
	put("/sys/fs/cgroup/memory.max", "2097152\n");
	now = look();
	assert_int_equal(now.rss, 0);
	assert_int_equal(now.limit, 2 * MIB);
	assert_int_equal(now.group, MIB);
}

static void
test_version_1(void **state)
{
	struct memory_now now;

	(void)state;
	put("/proc/self/cgroup", "9:name=systemd:/x\n8:cpu,cpuacct:/c\n"
				 "4:memory:/a/b\n0::/\n");
	put("/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "3145728\n");
	put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
	    "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/a/b/memory.stat",
	    "inactive_file 1\ntotal_inactive_file 1048576\n");
	now = look();
	assert_int_equal(now.limit, 0);
	put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "4194304\n");
	now = look();
	assert_int_equal(now.limit, 4 * MIB);
	assert_int_equal(now.group, 2 * MIB);
}

/* A limit of whatever group is above counts as its own does. */
static void
test_parents(void **state)
{
	struct memory_now now;

	(void)state;
	put("/proc/self/cgroup", "0::/a.slice/b.slice/rms.service\n");
	put("/sys/fs/cgroup/a.slice/b.slice/rms.service/memory.current",
	    "1048576\n");
	put("/sys/fs/cgroup/a.slice/b.slice/rms.service/memory.max",
	    "209715200\n");
	put("/sys/fs/cgroup/a.slice/b.slice/memory.current", "3145728\n");
	put("/sys/fs/cgroup/a.slice/b.slice/memory.max", "max\n");
	put("/sys/fs/cgroup/a.slice/memory.current", "97517568\n");
	put("/sys/fs/cgroup/a.slice/memory.max", "104857600\n");
	put("/sys/fs/cgroup/a.slice/memory.stat", "inactive_file 1048576\n");
	now = look();
	assert_int_equal(now.limit, 100 * MIB);
	assert_int_equal(now.group, 92 * MIB);
	assert_true(memory_judge(&m, &now, 0));
	/* the one that is fullest counts */
	put("/sys/fs/cgroup/a.slice/memory.current", "1048577\n");
	put("/sys/fs/cgroup/a.slice/b.slice/rms.service/memory.current",
	    "104857600\n");
	now = look();
	assert_int_equal(now.limit, 200 * MIB);
	assert_int_equal(now.group, 100 * MIB);
}

/* A container that does not see where its group is: the mount is it. */
static void
test_version_1_out_of_sight(void **state)
{
	struct memory_now now;

	(void)state;
	put("/proc/self/cgroup", "4:memory:/docker/0123\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "3145728\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4194304\n");
	now = look();
	assert_int_equal(now.limit, 4 * MIB);
	assert_int_equal(now.group, 3 * MIB);
}

/* More levels than are looked at: the nearest are. */
static void
test_deep(void **state)
{
	struct memory_now now;
	char dir[256] = "/sys/fs/cgroup", path[300];

	(void)state;
	put("/proc/self/cgroup", "0::/1/2/3/4/5/6/7/8/9\n");
	for (int n = 1; n <= 9; n++) {
		snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/%d",
			 n);
		snprintf(path, sizeof(path), "%s/memory.current", dir);
		put(path, "1048576\n");
		snprintf(path, sizeof(path), "%s/memory.max", dir);
		put(path, n == 1 ? "1048576\n" : "2097152\n");
	}
	now = look();
	assert_int_equal(now.limit, 2 * MIB);
}

/* A plain host: no group says anything. */
static void
test_host(void **state)
{
	struct memory_now now;

	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/proc/meminfo", "MemTotal:        2048000 kB\n"
			     "MemFree:           10000 kB\n"
			     "MemAvailable:     100000 kB\n");
	now = look();
	assert_int_equal(now.total, 2000 * MIB);
	assert_int_equal(now.available, UINT64_C(100000) * 1024);
	assert_true(memory_judge(&m, &now, 0));
	put("/proc/meminfo", "MemTotal: 2048000 kB\nMemFree: 1 kB\n");
	now = look();
	assert_int_equal(now.available, 0); /* an old kernel: not known */
	assert_false(memory_judge(&m, &now, 0));
}

static void
test_nothing_is_known(void **state)
{
	struct memory_now now;

	(void)state;
	now = look();
	assert_int_equal(now.rss, 0);
	assert_int_equal(now.limit, 0);
	assert_false(memory_judge(&m, &now, 1));
	put("/proc/self/statm", "nonsense");
	put("/proc/self/cgroup", "nonsense");
	now = look();
	assert_int_equal(now.rss, 0);
	put("/proc/self/statm", "12 x\n");
	now = look();
	assert_int_equal(now.rss, 0);
}

static void
test_real_files(void **state)
{
	struct memory_now now;

	(void)state;
	memory_open(&m, "");
	memory_read(&m, &now);
	assert_true(now.rss > 100 * 1024);
	assert_true(now.available > 0 && now.available <= now.total);
}

static bool
judge(uint64_t rss, uint64_t max, uint64_t group, uint64_t limit)
{
	const struct memory_now now = {
	    .rss = rss, .group = group, .limit = limit};

	return memory_judge(&m, &now, max);
}

static void
test_judge(void **state)
{
	(void)state;
	m = (struct memory){.statm = -1, .meminfo = -1};
	assert_false(judge(100, 100, 90, 100));
	assert_true(judge(101, 100, 0, 0));
	/* not over as soon as it is a byte below */
	assert_true(judge(100, 100, 0, 0));
	assert_true(judge(91, 100, 0, 0));
	assert_false(judge(90, 100, 0, 0));
	assert_true(judge(0, 0, 91, 100));
	assert_true(judge(0, 0, 81, 100));
	assert_false(judge(0, 0, 80, 100));
	/* no limit, no shortage */
	assert_false(judge(UINT64_MAX, 0, UINT64_MAX, 0));
}

static bool
judge_host(uint64_t available, uint64_t total)
{
	const struct memory_now now = {.available = available, .total = total};

	return memory_judge(&m, &now, 0);
}

static void
test_judge_host(void **state)
{
	(void)state;
	m = (struct memory){.statm = -1, .meminfo = -1};
	assert_false(judge_host(50 * MIB, 1000 * MIB));
	assert_true(judge_host(50 * MIB - 1, 1000 * MIB));
	assert_true(judge_host(75 * MIB - 1, 1000 * MIB));
	assert_false(judge_host(75 * MIB, 1000 * MIB));
	/* of a large host not more than a GiB is wanted */
	assert_false(judge_host(1024 * MIB, 512 * 1024 * MIB));
	assert_true(judge_host(1024 * MIB - 1, 512 * 1024 * MIB));
	assert_false(judge_host(1536 * MIB, 512 * 1024 * MIB));
	assert_false(judge_host(0, 1000 * MIB));
	assert_false(judge_host(1, 0));
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(version_2),
	    T(version_2_root),
	    T(version_1),
	    T(parents),
	    T(version_1_out_of_sight),
	    T(deep),
	    T(host),
	    T(nothing_is_known),
	    T(real_files),
	    T(judge),
	    T(judge_host),
	};

	m = (struct memory){.statm = -1, .meminfo = -1};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
