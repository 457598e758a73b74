/*
 * Whose turn it is, and who finds room to wait for it: Exchange does, whatever
 * others have waiting, and nobody is refused for what waits for its own
 * account's limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/virtual/scene.h"

#define EXCHANGE "EXCH01$@LAB.TEST"
#define CROWD	 100

/* A request of this account on a connection of its own. */
static void
asks(struct end *c, const char *who)
{
	snprintf(world.principal, sizeof(world.principal), "%s", who);
	end_dial(c, false);
	scene_ask(c);
	end_take(c);
}

/* The same: it waits. */
static void
waits(struct end *c, const char *who)
{
	uint64_t before = world_stat(STAT_queue_length);

	asks(c, who);
	VIRT_NEED(world_stat(STAT_queue_length) == before + 1 && c->len == 0,
		  c->got);
}

/* The same: there is no room for it. */
static void
finds_no_room(const char *who)
{
	struct end c;

	asks(&c, who);
	VIRT_NEED(end_has(&c, "HTTP/1.1 503 ") && end_has(&c, "QUEUE_FULL"),
		  c.got);
	end_close(&c);
}

/* The same: it is at the cloud, on a connection of its own. */
static void
goes(struct end *c, struct end *cloud, const char *who)
{
	asks(c, who);
	cloud_serve(cloud);
}

static void
is_answered(struct end *c, struct end *cloud)
{
	end_clear(cloud);
	end_send(cloud, REPLY);
	end_await(c, "hello");
}

static void
limits(int64_t cloud, int64_t account, int64_t queue)
{
	world_init();
	world.conf.cloud_requests_max = cloud;
	world.conf.account_requests_max = account;
	world.conf.queue_max = queue;
	world_up();
}

/* A crawl with more requests at a time than its account may have. */
SCENARIO(one_account_does_not_fill_the_queue)
{
	struct end crawl[10], mail[2], other, at_cloud, mail_at_cloud;

	limits(2, 2, 8);
	goes(&crawl[0], &at_cloud, CRAWLER);
	for (size_t i = 1; i < 10; i++)
		waits(&crawl[i], CRAWLER); /* one for a place, eight not yet */
	finds_no_room(CRAWLER);		   /* more than it may have waiting */
	goes(&mail[0], &mail_at_cloud, EXCHANGE);
	waits(&mail[1], EXCHANGE);
	waits(&other, CRAWLER_2);
	is_answered(&mail[0], &mail_at_cloud);
	scene_exchange_again(&mail[1], &mail_at_cloud);
	VIRT_NEED(world_stat(STAT_queue_length) == 10);
	/* and all of them have their turn */
	is_answered(&crawl[0], &at_cloud);
	for (size_t i = 1; i < 10; i++) {
		if (i == 2)
			scene_exchange_again(&other, &at_cloud);
		scene_exchange_again(&crawl[i], &at_cloud);
	}
	VIRT_NEED(world_stat(STAT_queue_length) == 0);
	VIRT_NEED(world_stat(STAT_queue_refused) == 1);
}

/* One that may have as many at a time as it likes. */
SCENARIO(a_crawl_leaves_room_for_exchange_to_wait)
{
	struct end crawl[16], mail[4], at_cloud, mail_at_cloud;

	limits(2, 0, 16);
	goes(&crawl[0], &at_cloud, CRAWLER);
	for (size_t i = 1; i < 15; i++)
		waits(&crawl[i], CRAWLER);
	finds_no_room(CRAWLER);
	finds_no_room(CRAWLER_2);
	goes(&mail[0], &mail_at_cloud, EXCHANGE);
	waits(&mail[1], EXCHANGE);
	waits(&mail[2], EXCHANGE);
	finds_no_room(EXCHANGE);
	is_answered(&crawl[0], &at_cloud); /* Exchange's goes first */
	scene_exchange_again(&mail[1], &at_cloud);
	waits(&mail[3], EXCHANGE);
}

/* Exchange may fill it; of what others have, it takes nothing away. */
SCENARIO(exchange_waits_wherever_there_is_room)
{
	struct end mail[10], at_cloud;

	limits(1, 0, 8);
	goes(&mail[0], &at_cloud, EXCHANGE);
	for (size_t i = 1; i < 9; i++)
		waits(&mail[i], EXCHANGE);
	finds_no_room(EXCHANGE);
	finds_no_room(CRAWLER);
}

/* An eighth of a few is one at the least. */
SCENARIO(a_place_is_free_for_exchange_also_among_few)
{
	struct end crawl[2], mail, at_cloud, mail_at_cloud;

	limits(2, 0, 8);
	goes(&crawl[0], &at_cloud, CRAWLER);
	waits(&crawl[1], CRAWLER);
	goes(&mail, &mail_at_cloud, EXCHANGE);
	is_answered(&mail, &mail_at_cloud);
}

/* Of one there is nothing to keep. */
SCENARIO(one_place_is_everybodys)
{
	struct end crawl[2], at_cloud;

	limits(1, 0, 1);
	goes(&crawl[0], &at_cloud, CRAWLER);
	waits(&crawl[1], CRAWLER);
	finds_no_room(EXCHANGE);
}

SCENARIO(nobody_waits_where_nobody_may)
{
	struct end crawl, at_cloud;

	limits(1, 0, 0);
	goes(&crawl, &at_cloud, CRAWLER);
	finds_no_room(CRAWLER);
	finds_no_room(EXCHANGE);
}

/* --- a limit that is higher than it was --------------------------------------
 */

/* From now on, before a moment has passed. */
static void
raised(int64_t cloud, int64_t account)
{
	world.conf.cloud_requests_max = cloud;
	world.conf.account_requests_max = account;
	world_reload(CA_OURS, CA_OURS);
}

SCENARIO(a_higher_limit_of_an_account_counts_at_once)
{
	struct end crawl[6], other[2], at_cloud, other_at_cloud;

	limits(100, 1, 8);
	goes(&crawl[0], &at_cloud, CRAWLER);
	goes(&other[0], &other_at_cloud, CRAWLER_2);
	for (size_t i = 1; i < 6; i++)
		waits(&crawl[i], CRAWLER);
	waits(&other[1], CRAWLER_2);
	raised(100, 3);
	VIRT_NEED(world_stat(STAT_queue_length) == 3);
	for (size_t i = 1; i < 3; i++)
		cloud_serve(&at_cloud);
	cloud_serve(&at_cloud); /* of the other */
	raised(100, 0);
	VIRT_NEED(world_stat(STAT_queue_length) == 0);
	VIRT_NEED(virt_connected() == 8);
}

/* What the account lets go on waits for the relay. */
SCENARIO(a_higher_limit_of_an_account_gets_it_ready)
{
	struct end crawl[4], at_cloud;

	limits(2, 1, 8);
	goes(&crawl[0], &at_cloud, CRAWLER);
	for (size_t i = 1; i < 4; i++)
		waits(&crawl[i], CRAWLER);
	raised(2, 3); /* one of two places is Exchange's */
	VIRT_NEED(world_stat(STAT_queue_length) == 3);
	raised(4, 3);
	VIRT_NEED(world_stat(STAT_queue_length) == 1);
	is_answered(&crawl[0], &at_cloud);
	VIRT_NEED(world_stat(STAT_queue_length) == 0);
}

SCENARIO(a_higher_limit_of_the_relay_counts_at_once)
{
	struct end mail[4], at_cloud;

	limits(1, 0, 8);
	goes(&mail[0], &at_cloud, EXCHANGE);
	for (size_t i = 1; i < 4; i++)
		waits(&mail[i], EXCHANGE);
	raised(3, 0);
	VIRT_NEED(world_stat(STAT_queue_length) == 1);
}

/* --- memory ----------------------------------------------------------------
 */

static bool
is_refused(void)
{
	uint64_t before = world_stat(STAT_conns_refused);
	struct end c;

	end_dial(&c, false);
	world_run();
	end_take(&c);
	if (!c.eof && !c.reset) {
		end_send(&c, "GET /"); /* or it goes as an idle one */
		return false;
	}
	VIRT_NEED(world_stat(STAT_conns_refused) == before + 1);
	end_close(&c);
	return true;
}

/* A relay that is short of memory takes connections only in the place of some
 * that go. */
SCENARIO(connections_while_memory_is_short)
{
	struct end crowd[CROWD], mail, cloud;
	struct conf before;

	world_init();
	before = world.conf;
	world_up();
	for (size_t i = 0; i < CROWD; i++) {
		end_dial(&crowd[i], false);
		end_send(&crowd[i], "GET /");
	}
	world.conf.memory_max = 1 << 20; /* it has more */
	world_reload(CA_OURS, CA_OURS);
	world_advance(1100);
	VIRT_NEED(world_had_event(2111));
	VIRT_NEED(world_stat(STAT_conns_open) == CROWD, "they are in use");
	VIRT_NEED(is_refused());
	for (size_t i = 0; i < CROWD / 4; i++)
		end_close(&crowd[i]);
	VIRT_NEED(is_refused(), "three quarters are as many as may be");
	end_close(&crowd[CROWD / 4]);
	end_dial(&mail, false);
	scene_exchange(&mail, &cloud);
	end_close(&mail);
	VIRT_NEED(!is_refused());
	VIRT_NEED(is_refused());
	world.conf = before;
	world_reload(CA_OURS, CA_OURS);
	world_advance(1100);
	VIRT_NEED(world_had_event(1110));
	VIRT_NEED(!is_refused());
}

/* With few connections it serves, however short it is. */
SCENARIO(some_connections_are_taken_however_short_memory_is)
{
	world_init();
	world.conf.memory_max = 1 << 20;
	world_up();
	world_advance(1100);
	VIRT_NEED(world_had_event(2111));
	for (size_t i = 0; i < 64; i++)
		VIRT_NEED(!is_refused());
	VIRT_NEED(is_refused());
}

/* The host's, whoever uses it: a twentieth of 16 GiB is 819 MiB. */
SCENARIO(a_host_that_is_short_of_memory)
{
	struct end crawl, mail, cloud = {.fd = -1};

	scene_up();
	end_dial(&crawl, false);
	end_dial(&mail, false);
	scene_exchange(&mail, &cloud);
	end_clear(&mail);
	world_memory(16384, 800);
	end_send(&mail, "POST ");
	end_send(&crawl, "POST ");
	world_advance(1100);
	VIRT_NEED(world_had_event(2111));
	end_send(&mail, request(REQ_PATH, BODY) + strlen("POST "));
	scene_exchange_again(&mail, &cloud);
	snprintf(world.principal, sizeof(world.principal), CRAWLER);
	end_send(&crawl, request(REQ_PATH, BODY) + strlen("POST "));
	end_await(&crawl, "MEMORY_SHORT");
	world_memory(16384, 1200); /* half as much again is not there */
	world_advance(1100);
	VIRT_NEED(!world_had_event(1110));
	world_memory(16384, 1300);
	world_advance(1100);
	VIRT_NEED(world_had_event(1110));
	asks(&crawl, CRAWLER);
	scene_exchange_again(&crawl, &cloud);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_account_does_not_fill_the_queue),
	    cmocka_unit_test(a_crawl_leaves_room_for_exchange_to_wait),
	    cmocka_unit_test(exchange_waits_wherever_there_is_room),
	    cmocka_unit_test(a_place_is_free_for_exchange_also_among_few),
	    cmocka_unit_test(one_place_is_everybodys),
	    cmocka_unit_test(nobody_waits_where_nobody_may),
	    cmocka_unit_test(a_higher_limit_of_an_account_counts_at_once),
	    cmocka_unit_test(a_higher_limit_of_an_account_gets_it_ready),
	    cmocka_unit_test(a_higher_limit_of_the_relay_counts_at_once),
	    cmocka_unit_test(connections_while_memory_is_short),
	    cmocka_unit_test(a_host_that_is_short_of_memory),
	    cmocka_unit_test(
		some_connections_are_taken_however_short_memory_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
