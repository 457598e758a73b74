/*
 * What the master hears of accounts: what is new, once, and what its channel
 * did not take with the next request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/virtual/scene.h"

#define EXCHANGE "EXCH01$@LAB.TEST"
#define STRANGER "WS07$@LAB.TEST"

static void
speaks(const char *who)
{
	snprintf(world.principal, sizeof(world.principal), "%s", who);
	world.seen = 0;
}

SCENARIO(an_account_is_told_of_once_in_its_time)
{
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	VIRT_NEED(world.seen == 1);
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(world.seen == 1);
	world_advance((uint64_t)world.conf.account_report_ms);
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(world.seen == 2);
}

/* Refusals, which are news each time, until the channel takes no more. */
static void
fill_the_channel(void)
{
	struct end c;

	speaks(STRANGER);
	world.deaf = true;
	end_dial(&c, false);
	for (int n = 0; n < 6000; n++) {
		scene_ask(&c);
		end_take(&c);
		VIRT_NEED(end_has(&c, "HTTP/1.1 403 "), c.got);
		end_clear(&c);
	}
	end_close(&c);
}

SCENARIO(what_the_channel_did_not_take_is_told_with_the_next)
{
	struct end c, cloud;

	scene_up();
	fill_the_channel();
	speaks(EXCHANGE);
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	world.deaf = false;
	world_run();
	VIRT_NEED(world.seen == 0, "the channel was not full");
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(world.seen == 1);
	end_clear(&c);
	scene_ask(&c);
	scene_exchange_again(&c, &cloud);
	VIRT_NEED(world.seen == 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_account_is_told_of_once_in_its_time),
	    cmocka_unit_test(
		what_the_channel_did_not_take_is_told_with_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
