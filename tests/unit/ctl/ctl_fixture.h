/*
 * ctl_fixture: whole runs of rmsctl against a control server that answers what
 * the test says: what is sent, what is printed, the exit status.
 */
#ifndef RMS_TEST_CTL_FIXTURE_H
#define RMS_TEST_CTL_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"

#define ARGV_MAX 16

static char dir[] = "/tmp/rmsctl-test-XXXXXX";
static char sock[64];

/* What the server got, shared with its process. */
static struct request {
	uint32_t len;
	char bytes[4096];
} * request;

static char *out_text, *err_text;

/* --- the server -------------------------------------------------------- */

static inline int
listen_at(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(path);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static inline void
read_request(int fd)
{
	uint32_t le;

	if (recv(fd, &le, 4, MSG_WAITALL) != 4)
		_exit(1);
	request->len = le32toh(le);
	if (request->len > sizeof(request->bytes) ||
	    recv(fd, request->bytes, request->len, MSG_WAITALL) !=
		(ssize_t)request->len)
		_exit(1);
}

/* A process that takes one request, answers these bytes and closes. */
static inline pid_t
serve(const void *bytes, size_t len)
{
	int fd = listen_at(sock), c;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		c = accept(fd, NULL, NULL);
		if (c < 0)
			_exit(1);
		read_request(c);
		_exit(send(c, bytes, len, MSG_NOSIGNAL) < 0);
	}
	close(fd);
	return pid;
}

/* The framed form of JSON texts, one after the other. */
static inline size_t
frame(char *to, const char *json)
{
	uint32_t le = htole32((uint32_t)strlen(json));

	memcpy(to, &le, 4);
	memcpy(to + 4, json, strlen(json));
	return 4 + strlen(json);
}

/* --- the client -------------------------------------------------------- */

static inline int
run_words(char **argv, int argc)
{
	size_t n;
	FILE *out, *err;
	int status;

	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &n);
	err = open_memstream(&err_text, &n);
	status = ctl_main(argc, argv, out, err);
	fclose(out);
	fclose(err);
	return status;
}

static inline int
run(const char *first, ...)
{
	static char storage[ARGV_MAX][256];
	char *argv[ARGV_MAX];
	int argc = 0;
	va_list ap;

	va_start(ap, first);
	for (const char *w = "rmsctl"; w != NULL;
	     w = argc == 1 ? first : va_arg(ap, const char *)) {
		assert_true(argc < ARGV_MAX);
		snprintf(storage[argc], sizeof(storage[0]), "%s", w);
		argv[argc] = storage[argc];
		argc++;
	}
	va_end(ap);
	return run_words(argv, argc);
}

/* Runs with the server answering this object. */
#define RUN(json, ...)                                             \
	({                                                         \
		static char reply_[16384];                         \
		pid_t pid_ = serve(reply_, frame(reply_, (json))); \
		int status_ = run(__VA_ARGS__, NULL);              \
		waitpid(pid_, NULL, 0);                            \
		status_;                                           \
	})

/* Runs with the server answering these bytes as they are. */
#define RUN_RAW(bytes, len, ...)                      \
	({                                            \
		pid_t pid_ = serve((bytes), (len));   \
		int status_ = run(__VA_ARGS__, NULL); \
		waitpid(pid_, NULL, 0);               \
		status_;                              \
	})

static inline void
assert_says(const char *text, const char *what)
{
	if (strstr(text, what) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, what);
}

/* Arguments as sent, with "|" for the NUL. */
static inline void
assert_sent(const char *args)
{
	char got[sizeof(request->bytes) + 1];

	memcpy(got, request->bytes, request->len);
	got[request->len] = '\0';
	for (size_t i = 0; i < request->len; i++)
		if (got[i] == '\0')
			got[i] = '|';
	assert_string_equal(got, args);
}

static inline int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(sock, sizeof(sock), "%s/control.sock", dir);
	request = mmap(NULL, sizeof(*request), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return request == MAP_FAILED ? -1 : setenv("RMSCTL_SOCKET", sock, 1);
}

static inline int
teardown(void **state)
{
	(void)state;
	(void)unlink(sock);
	free(out_text);
	free(err_text);
	munmap(request, sizeof(*request));
	return rmdir(dir);
}

#endif
