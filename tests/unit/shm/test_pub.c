/*
 * A published value is whole at every moment of its writer's life and death.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "shm/base/clock.h"
#include "shm/base/fd.h"
#include "shm/pub.h"
#include "shm/tickets.h"
#include "shm/token.h"
#include "shm/base/log.h"

#define LAYOUT UINT64_C(0x1234)

/* Every byte of value i is a function of i. */
static void
make_value(uint8_t *v, size_t size, uint32_t i)
{
	for (size_t k = 0; k < size; k++)
		v[k] = (uint8_t)(i * 31 + k * 7 + (i >> 8));
	memcpy(v, &i, sizeof(i));
}

static bool
is_whole(const uint8_t *v, size_t size, uint32_t *i_r)
{
	uint32_t i;

	memcpy(&i, v, sizeof(i));
	*i_r = i;
	for (size_t k = sizeof(i); k < size; k++)
		if (v[k] != (uint8_t)(i * 31 + k * 7 + (i >> 8)))
			return false;
	return true;
}

static struct pub *
map(int fd, size_t size, bool write)
{
	const char *why = NULL;
	struct pub *p = pub_map(fd, size, LAYOUT, write, &why);

	assert_non_null(p);
	return p;
}

static void
nothing_then_the_newest(void **state)
{
	static const size_t sizes[] = {1, 7, 8, 9, 64, 4096, 70001};

	(void)state;
	for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
		size_t size = sizes[s];
		uint8_t *in = malloc(size), *out = malloc(size + 1);
		int fd = pub_create("t", size, LAYOUT);
		struct pub *w, *r;

		assert_true(fd >= 0);
		w = map(fd, size, true);
		r = map(fd, size, false);
		close(fd);
		memset(out, 0xee, size + 1);
		assert_true(pub_seq(r) == 0);
		assert_true(pub_read(r, out) == 0);
		for (size_t k = 0; k < size; k++)
			assert_int_equal(out[k], 0);
		for (unsigned i = 1; i < 6; i++) {
			memset(in, (int)i, size);
			pub_write(w, in);
			assert_true(pub_seq(r) == i);
			assert_true(pub_read(r, out) == i);
			assert_memory_equal(in, out, size);
			assert_int_equal(out[size], 0xee);
		}
		pub_unmap(&w);
		pub_unmap(&r);
		assert_null(r);
		free(in);
		free(out);
	}
}

static void
a_reader_cannot_write(void **state)
{
	int fd = pub_create("t", 64, LAYOUT), status;
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct pub *r = map(fd, 64, false);

		signal(SIGSEGV, SIG_DFL);
		pub_write(r, (uint8_t[64]){0});
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* Nor get at a writable mapping through a read-only descriptor. */
	{
		int ro = fd_reopen_ro(fd);
		const char *why = NULL;

		assert_true(ro >= 0);
		assert_null(pub_map(ro, 64, LAYOUT, true, &why));
		assert_non_null(why);
		close(ro);
	}
	close(fd);
}

static void
a_foreign_segment_is_refused(void **state)
{
	int fd = pub_create("t", 64, LAYOUT), plain;
	const char *why = NULL;
	struct stat st;

	(void)state;
	assert_null(pub_map(fd, 64, LAYOUT + 1, false, &why));
	assert_non_null(why);
	assert_null(pub_map(fd, 63, LAYOUT, false, &why)); /* same words */
	assert_null(pub_map(fd, 65, LAYOUT, false, &why)); /* another size */
	assert_null(pub_map(-1, 64, LAYOUT, false, &why));
	assert_null(pub_map(STDIN_FILENO, 64, LAYOUT, false, &why));
	/* The right bytes, but someone could still shrink it under us. */
	assert_int_equal(fstat(fd, &st), 0);
	plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(plain, st.st_size), 0);
	assert_null(pub_map(plain, 64, LAYOUT, false, &why));
	assert_string_equal(why, "segment can be resized");
	close(plain);
	/* Not made by pub_create(). */
	plain = fd_memfd_shared("zero", (size_t)st.st_size);
	assert_null(pub_map(plain, 64, LAYOUT, false, &why));
	close(plain);
	/* And nobody can shrink ours. */
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
}

/* --- death of a writer, at every instruction
 * ---------------------------------- */

#define SMALL 20

/* What a reader and a successor find in a copy of the segment as it is now. */
static uint32_t
autopsy(int fd, uint32_t newest)
{
	uint8_t seg[512], v[SMALL], next[SMALL];
	struct stat st;
	uint32_t i, j;
	struct pub *w;
	int copy;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true((size_t)st.st_size <= sizeof(seg));
	assert_int_equal(pread(fd, seg, sizeof(seg), 0), st.st_size);
	copy = fd_memfd_shared("copy", (size_t)st.st_size);
	assert_int_equal(pwrite(copy, seg, (size_t)st.st_size, 0), st.st_size);
	w = map(copy, SMALL, true);
	assert_true(pub_read(w, v) > 0);
	assert_true(is_whole(v, SMALL, &i));
	make_value(next, SMALL, newest);
	pub_write(w, next);
	assert_true(pub_read(w, v) > 0);
	assert_true(is_whole(v, SMALL, &j));
	assert_int_equal(j, newest);
	pub_unmap(&w);
	close(copy);
	return i;
}

static void
a_writer_may_die_at_any_instruction(void **state)
{
	int fd = pub_create("t", SMALL, LAYOUT), status;
	struct pub *p = map(fd, SMALL, true);
	uint8_t v[SMALL];
	uint32_t last = 0;
	long steps = 0;
	pid_t pid;

	(void)state;
	make_value(v, SMALL, 1);
	pub_write(p, v);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(77);
		raise(SIGSTOP);
		for (uint32_t i = 2; i <= 4; i++) {
			make_value(v, SMALL, i);
			pub_write(p, v);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: nobody may trace here\n");
		skip();
	}
	for (;;) {
		uint32_t i = autopsy(fd, 99);

		assert_true(i == last || i == last + 1);
		last = i;
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		steps++;
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(last, 4);
	assert_true(steps > 100);
	pub_unmap(&p);
	close(fd);
}

/* --- death of writers of a large value, under a reader's eyes
 * ------------------ */

#ifdef RMS_MODE_asan
#define DEATHS 300
#else
#define DEATHS 3000
#endif

static void
writer_main(struct pub *w, uint32_t i, size_t size)
{
	uint8_t *v = malloc(size);

	if (v == NULL)
		_exit(1);
	for (;; i++) {
		make_value(v, size, i);
		pub_write(w, v);
	}
}

static void
thousands_of_writers_are_killed_and_no_value_is_torn(void **state)
{
	const size_t size = 3001;
	int fd = pub_create("t", size, LAYOUT);
	struct pub *w = map(fd, size, true), *r = map(fd, size, false);
	uint8_t *v = malloc(size);
	uint64_t rnd = 88172645463325252, whole = 0;
	uint32_t i = 0, last = 0;

	(void)state;
	close(fd);
	for (int death = 0; death < DEATHS; death++) {
		uint64_t seq = pub_seq(r), until;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			writer_main(w, last + 1, size);
		while (pub_seq(r) == seq)
			;
		rnd ^= rnd << 13;
		rnd ^= rnd >> 7;
		rnd ^= rnd << 17;
		until = clock_mono_ns() + rnd % 50000;
		do {
			/* A writer without a pause may leave us none: then 0,
			 * but never a torn one. */
			if (pub_read(r, v) == 0)
				continue;
			assert_true(is_whole(v, size, &i));
			assert_true(i >= last);
			last = i;
			whole++;
		} while (clock_mono_ns() < until);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		/* Dead: now the value stands, and it is whole. */
		assert_true(pub_read(r, v) > 0);
		assert_true(is_whole(v, size, &i));
		assert_true(i >= last);
		last = i;
	}
	assert_true(whole > 0);
	assert_true(last > DEATHS);
	pub_unmap(&w);
	pub_unmap(&r);
	free(v);
}

static void
the_real_values_fit(void **state)
{
	static struct token_value t, t_r;
	struct tickets_value k = {.nkeys = 3}, k_r;
	const char *why = NULL;
	int fd = pub_create("token", sizeof(t), TOKEN_LAYOUT);
	struct pub *p = pub_map(fd, sizeof(t), TOKEN_LAYOUT, true, &why);

	(void)state;
	assert_non_null(p);
	t.slot[7].bytes[TOKEN_BYTES_MAX - 1] = 'z';
	t.host[255] = 'h';
	pub_write(p, &t);
	assert_true(pub_read(p, &t_r) == 1);
	assert_memory_equal(&t, &t_r, sizeof(t));
	pub_unmap(&p);
	close(fd);
	fd = pub_create("tickets", sizeof(k), TICKETS_LAYOUT);
	p = pub_map(fd, sizeof(k), TICKETS_LAYOUT, true, &why);
	assert_non_null(p);
	pub_write(p, &k);
	assert_true(pub_read(p, &k_r) == 1);
	assert_int_equal(k_r.nkeys, 3);
	pub_unmap(&p);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_then_the_newest),
	    cmocka_unit_test(a_reader_cannot_write),
	    cmocka_unit_test(a_foreign_segment_is_refused),
	    cmocka_unit_test(a_writer_may_die_at_any_instruction),
	    cmocka_unit_test(
		thousands_of_writers_are_killed_and_no_value_is_torn),
	    cmocka_unit_test(the_real_values_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
