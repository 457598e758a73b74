/*
 * seen_fixture: reports of relays about accounts.
 */
#ifndef RMS_TEST_SEEN_FIXTURE_H
#define RMS_TEST_SEEN_FIXTURE_H

/* cmocka.h wants the four before it in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "master/seen.h"
#include "shm/base/clock.h"

#define MINUTE (60 * NS_PER_S)

static inline struct seen_news
report(struct seen *s, struct msg_seen m, uint64_t mono_ns)
{
	struct seen_news news;

	seen_report(s, &m, 1000 * NS_PER_S + mono_ns, mono_ns, &news);
	return news;
}

/* User S-1-5-21 and group S-1-5-32-N, packed. */
static inline struct slice
sids(char mem[32], char n)
{
	static const char user[] = "\0\14\1\1\0\0\0\0\0\5\25\0\0\0";
	static const char group[] = "\2\20\1\2\0\0\0\0\0\5\40\0\0\0N\0\0\0";

	memcpy(mem, user, sizeof(user) - 1);
	memcpy(mem + sizeof(user) - 1, group, sizeof(group) - 1);
	mem[sizeof(user) - 1 + 14] = n;
	return (struct slice){mem, sizeof(user) + sizeof(group) - 2};
}

static inline struct msg_seen
allowed(const char *account, bool tls)
{
	return (struct msg_seen){.allowed = true,
				 .tls = tls,
				 .mech = MECH_KERBEROS,
				 .role = SERVER_EXCHANGE,
				 .entry = 7,
				 .generation = 3,
				 .account = slice_of(account),
				 .address = SLICE_LIT("10.0.0.5")};
}

static inline struct msg_seen
refused(const char *account)
{
	return (struct msg_seen){.tls = true,
				 .verdict = VERDICT_NO_MATCH,
				 .account = slice_of(account)};
}

#endif
