/*
 * The same in whatever pieces the bytes come, and wherever there is no room
 * for those that go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/virtual/scene.h"

SCENARIO(request_split_anywhere)
{
	const char *text = request(REQ_PATH, BODY);
	struct end c, cloud;

	scene_up();
	for (size_t i = 1; i < strlen(text); i++) {
		end_dial(&c, false);
		end_send_bytes(&c, text, i);
		end_send(&c, text + i);
		scene_exchange_again(&c, &cloud);
		end_close(&c);
	}
	VIRT_NEED(virt_connected() == 1);
}

SCENARIO(reply_split_anywhere)
{
	static const char *const reply[] = {
	    REPLY,
	    "HTTP/1.1 100 Continue\r\n\r\n" REPLY,
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "2;x=\"y\"\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
	};
	struct end c, cloud;

	scene_up();
	end_dial(&c, false);
	scene_exchange(&c, &cloud);
	for (size_t r = 0; r < 3; r++)
		for (size_t i = 1; i < strlen(reply[r]); i++) {
			end_clear(&c);
			end_clear(&cloud);
			end_send(&c, request(REQ_PATH, BODY));
			end_take(&cloud);
			VIRT_NEED(cloud_request_is_whole(&cloud));
			end_send_bytes(&cloud, reply[r], i);
			end_take(&c);
			VIRT_NEED(!end_has(&c, "100 Continue"));
			end_send(&cloud, reply[r] + i);
			end_take(&c);
			VIRT_NEED(end_has(&c, "HTTP/1.1 200 OK\r\n"));
			VIRT_NEED(
			    r == 2 ? strcmp(scene_unchunked(&c), "hello") == 0
				   : end_has(&c, "\r\n\r\nhello"));
		}
	VIRT_NEED(virt_connected() == 1);
}

static void
byte_by_byte(bool tls)
{
	struct end c, cloud;

	scene_up();
	virt_io = (struct virt_io){.recv_max = 1, .send_max = 1};
	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	end_send(&c, request(REQ_PATH, BODY));
	scene_exchange_again(&c, &cloud);
}

SCENARIO(one_byte_at_a_time)
{
	byte_by_byte(false);
}

SCENARIO(one_byte_at_a_time_of_tls)
{
	byte_by_byte(true);
}

/* Two requests, the second with a reply in chunks. */
static void
two_requests(bool tls)
{
	struct end c, cloud;

	end_dial(&c, tls);
	if (tls)
		end_handshake(&c);
	scene_exchange(&c, &cloud);
	end_clear(&c);
	end_clear(&cloud);
	end_send(&c, request(REQ_PATH, BODY));
	end_take(&cloud);
	VIRT_NEED(cloud_request_is_whole(&cloud));
	end_send(&cloud, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			 "5\r\nhello\r\n0\r\n\r\n");
	end_take(&c);
	VIRT_NEED(end_has(&c, "hello\r\n0\r\n\r\n"));
}

static void
no_room_at(unsigned n, bool tls)
{
	scene_up();
	virt_io = (struct virt_io){.full_at = n};
	two_requests(tls);
	if (virt_io.sends < n)
		virt_over();
}

static void
no_room_plain(unsigned n)
{
	no_room_at(n, false);
}

static void
no_room_tls(unsigned n)
{
	no_room_at(n, true);
}

static void
no_room_at_any_send(void **state)
{
	(void)state;
	/* two requests have more than six */
	assert_true(scene_series(no_room_plain, 1, "send, plain") > 6);
	assert_true(scene_series(no_room_tls, 1, "send, TLS") > 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_split_anywhere),
	    cmocka_unit_test(reply_split_anywhere),
	    cmocka_unit_test(one_byte_at_a_time),
	    cmocka_unit_test(one_byte_at_a_time_of_tls),
	    cmocka_unit_test(no_room_at_any_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
