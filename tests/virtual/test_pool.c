/*
 * Connections to the cloud that are not in use: how long, and how many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/base/log.h"
#include "tests/virtual/scene.h"

#define IDLE_MS 5000
/* The relay looks at its pool once a second. */
#define SWEEP_MS 1000
#define CLIENTS	 4

/* A connection that came into the pool between two looks at it. */
static void
one_in_the_pool(struct end *c, struct end *cloud)
{
	world_init();
	world.conf.cloud_idle_timeout_ms = IDLE_MS;
	world_up();
	world_advance(SWEEP_MS / 4);
	end_dial(c, false);
	scene_exchange(c, cloud);
	end_clear(c);
	end_clear(cloud);
	VIRT_NEED(world_stat(STAT_up_idle) == 1);
}

SCENARIO(idle_connection_is_used_up_to_its_time)
{
	struct end c, cloud;

	one_in_the_pool(&c, &cloud);
	world_advance(IDLE_MS - 10);
	VIRT_NEED(world_stat(STAT_up_idle) == 1);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(virt_connected() == 1);
	/* and its time begins anew */
	end_clear(&c);
	world_advance(IDLE_MS - 10);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(virt_connected() == 1);
}

SCENARIO(connection_that_was_idle_too_long_is_not_used)
{
	struct end c, old, fresh = {.fd = -1};

	one_in_the_pool(&c, &old);
	world_advance(IDLE_MS + 10); /* and nobody has looked at it yet */
	VIRT_NEED(world_stat(STAT_up_idle) == 1);
	scene_ask(&c);
	scene_exchange_again(&c, &fresh);
	VIRT_NEED(virt_connected() == 2 && world_stat(STAT_up_idle) == 1);
	end_take(&old);
	VIRT_NEED(old.eof && old.len == 0, old.got);
}

SCENARIO(connection_that_is_idle_too_long_is_closed)
{
	struct end c, cloud;

	one_in_the_pool(&c, &cloud);
	world_advance(IDLE_MS - 10);
	end_take(&cloud);
	VIRT_NEED(!cloud.eof && world_stat(STAT_up_idle) == 1);
	world_advance(SWEEP_MS);
	end_take(&cloud);
	VIRT_NEED(cloud.eof && !cloud.reset && world_stat(STAT_up_idle) == 0);
}

/* So many requests at a time, each on a connection of its own, then so many
 * replies; `most` is never exceeded. */
static void
many_at_a_time(struct end cloud[CLIENTS], size_t most)
{
	struct end c[CLIENTS];

	for (size_t i = 0; i < CLIENTS; i++) {
		end_dial(&c[i], false);
		scene_ask(&c[i]);
		cloud[i].fd = -1;
		scene_serve(&cloud[i]);
		end_clear(&cloud[i]);
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		end_send(&cloud[i], REPLY);
		end_await(&c[i], "hello");
		VIRT_NEED(world_stat(STAT_up_idle) == MIN(i + 1, most));
		end_close(&c[i]);
	}
}

static size_t
closed_of(struct end cloud[CLIENTS])
{
	size_t n = 0;

	for (size_t i = 0; i < CLIENTS; i++) {
		end_take(&cloud[i]);
		n += cloud[i].eof;
	}
	return n;
}

static void
pool_of(int64_t most)
{
	struct end cloud[CLIENTS];

	world_init();
	world.conf.cloud_pool_max = most;
	world_up();
	many_at_a_time(cloud, (size_t)most);
	VIRT_NEED(virt_connected() == CLIENTS);
	VIRT_NEED(closed_of(cloud) == CLIENTS - (size_t)most);
}

SCENARIO(no_more_are_kept_than_may_be)
{
	pool_of(2);
}

SCENARIO(none_are_kept)
{
	pool_of(0);
}

/* A reload that allows fewer: those that are too many go, the oldest first. */
SCENARIO(fewer_may_be)
{
	struct end cloud[CLIENTS];

	scene_up();
	many_at_a_time(cloud, CLIENTS);
	VIRT_NEED(world_stat(STAT_up_idle) == CLIENTS);
	world.conf.cloud_pool_max = 1;
	world_reload(CA_OURS, CA_OURS);
	world_advance(SWEEP_MS);
	VIRT_NEED(world_stat(STAT_up_idle) <= 1);
	VIRT_NEED(closed_of(cloud) >= CLIENTS - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_connection_is_used_up_to_its_time),
	    cmocka_unit_test(connection_that_was_idle_too_long_is_not_used),
	    cmocka_unit_test(connection_that_is_idle_too_long_is_closed),
	    cmocka_unit_test(no_more_are_kept_than_may_be),
	    cmocka_unit_test(none_are_kept),
	    cmocka_unit_test(fewer_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
