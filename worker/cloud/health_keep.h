/*
 * health_keep: what relays report of the cloud, kept for all of them.
 *
 * A relay may be in the wrong hands: each has few reports a second, each
 * report an effect of bounded length, and none does more than to make others
 * wait or choose another address first.
 */
#ifndef RMS_HEALTH_KEEP_H
#define RMS_HEALTH_KEEP_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/msg.h"
#include "shm/role.h"
#include "shm/token.h"

#define HEALTH_REPORTS_MAX 8 /* of one relay in a second */
#define HEALTH_WAIT_MAX_MS UINT64_C(3600000)
#define HEALTH_DOWN_MAX_MS UINT64_C(60000)

struct health_keep {
	struct {
		uint64_t second; /* CLOCK_BOOTTIME s */
		unsigned n;	 /* reports in it */
	} relay[RELAY_MAX];
};

/* Puts a report of the relay in this slot into v.  True when v is other now.
 * now: CLOCK_BOOTTIME ns. */
bool health_keep_take(struct health_keep *k, struct token_value *v,
		      unsigned slot, const struct msg_cloud_health *m,
		      uint64_t now);

#endif
