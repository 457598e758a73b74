/*
 * virt: a whole process in a thread of the test, in time that stands still.
 *
 * The process under test (the relay) runs its own main() in a thread.  It and
 * the script, which is the test, take turns: the process runs until it would
 * wait in epoll_wait() with nothing to do, then the script goes on; so what
 * happens is the same in every run.  The clocks only move when the script
 * says so.
 *
 * Sockets towards clients and the cloud are Unix sockets beneath, which the
 * kernel delivers at once.  virt_io says what the process's own send() and
 * recv() find: all that there is, a few bytes at a time, or no room.  The
 * events that epoll would give for what was held back are made up for it.
 *
 * One process for each scenario (virt_scenario() forks): nothing is left from
 * the one before, and one that dies fails alone.
 */
#ifndef RMS_VIRT_H
#define RMS_VIRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum virt_result {
	VIRT_GOOD,
	VIRT_BAD,  /* standard error tells: VIRT_NEED, a sanitizer, a crash */
	VIRT_OVER, /* virt_over(): a series has no further scenario */
};
/* Runs fn(arg) in a process of its own, to its return. */
enum virt_result virt_scenario(void (*fn)(void *arg), void *arg);
/* In a scenario: what it is about did not happen, for the series is over. */
_Noreturn void virt_over(void);

/* In a scenario: ends it with a line unless cond. */
#define VIRT_NEED(cond, ...)                                              \
	do {                                                              \
		if (!(cond))                                              \
			virt_fail(                                        \
			    __FILE__, __LINE__, #cond,                    \
			    (const char *[]){"", ##__VA_ARGS__},          \
			    sizeof((const char *[]){"", ##__VA_ARGS__}) / \
				sizeof(char *));                          \
	} while (0)
_Noreturn void virt_fail(const char *file, int line, const char *what,
			 const char *const *more, size_t n);

/* Starts the process: main_fn in a thread, up to its first wait. */
void virt_start(int (*main_fn)(int argc, char **argv), int argc, char **argv);
/* Lets it run until it has nothing to do at this moment. */
void virt_run(void);
/* Moves the clocks, stopping at each moment that the process waits for. */
void virt_advance(uint64_t ms);
/* Now, CLOCK_MONOTONIC ns as the process sees it. */
uint64_t virt_now_ns(void);
/* Did its main() return? */
bool virt_ended(void);

/* What the process's send() and recv() find. */
struct virt_io {
	size_t send_max; /* bytes a call; 0: no limit */
	size_t recv_max;
	unsigned full_at; /* this send, counted from 1, finds no room; 0 none */
	unsigned full_every; /* each n-th does; 0 none */
	unsigned sends;	     /* counted */
};
extern struct virt_io virt_io;

/* What becomes of the process's next connect(); later ones are VIRT_OK. */
enum virt_connect {
	VIRT_OK,      /* connected at once */
	VIRT_REFUSED, /* ECONNREFUSED */
	VIRT_HANGS,   /* under way for ever */
	/* what the host lacks: */
	VIRT_NO_ROOM,	/* ENOBUFS */
	VIRT_NO_PORT,	/* EADDRNOTAVAIL: all ports to it are in use */
	VIRT_NO_SOURCE, /* EADDRNOTAVAIL: no address of ours leads there */
};
void virt_next_connect(enum virt_connect how);
/* All of them until the next call; VIRT_OK at first. */
void virt_connects(enum virt_connect how);
/* The same for one address, which its last byte names, before those two. */
void virt_connects_at(uint8_t address, enum virt_connect how);
/* The newest connect() to it hangs, and succeeds now. */
void virt_connect_late(uint8_t address);
/* The same, and fails now. */
void virt_refuse_late(uint8_t address);
/* The last byte of the address of the newest connect(). */
uint8_t virt_connected_to(void);
/* Its port. */
uint16_t virt_connected_port(void);
/* connect() calls so far. */
unsigned virt_connected(void);
/* The process's next socket() towards an address fails, with this errno. */
void virt_next_socket(int err);

/* A socket that clients connect to, for the process to accept from; and the
 * one on which its connections to the cloud arrive. */
int virt_listen(const char *name);
int virt_dial(const char *name);
void virt_set_cloud(const char *name);
/* Room in the socket beneath for what the process sends on connections that
 * it accepts from now on, bytes; 0: the kernel's. */
void virt_set_room(int bytes);

/*
 * Files of the kernel.  Below /proc and /sys the process finds these and no
 * others, so what the machine is doing changes no test.  One that is set again
 * has other contents from then on, also where it is open.
 */
void virt_file(const char *path, const char *text);

/*
 * Memory.  Allocations of the process (its own, OpenSSL's and libevent's) are
 * counted from virt_alloc_count() on; the n-th from then fails, 0: none.
 */
void virt_alloc_begin(unsigned fail_at);
unsigned virt_alloc_count(void);
/* The next one of exactly so many bytes fails. */
void virt_alloc_deny(size_t size);
/* Did it? */
bool virt_alloc_denied(void);
/* No failure from now on. */
void virt_alloc_end(void);

#endif
