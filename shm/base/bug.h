/*
 * bug: what every file starts from: assertions that stay on in release,
 * attributes, and small arithmetic that cannot go wrong silently.
 */
#ifndef RMS_BUG_H
#define RMS_BUG_H

#include <stddef.h>
#include <stdint.h>

#define MUST_USE     __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define NORETURN     __attribute__((noreturn))
#define UNUSED	     __attribute__((unused))
/* A large local that is not zeroed first (-ftrivial-auto-var-init): only what
 * was written to it is read. */
#define UNINIT __attribute__((uninitialized))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The object that holds member at ptr. */
#define CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * BUG_ON: cannot happen.  The process dies with a line that names the place;
 * the master starts another.  Never for input of any kind.
 */
#define BUG_ON(cond)                                        \
	do {                                                \
		if (__builtin_expect(!!(cond), 0))          \
			bug_die(__FILE__, __LINE__, #cond); \
	} while (0)

NORETURN void bug_die(const char *file, int line, const char *what);

#endif
