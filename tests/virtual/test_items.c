/*
 * Items of a batch and those that failed, counted while request and reply pass
 * in any pieces; nothing of either is changed for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/virtual/scene.h"

#define SOAP(body)                                                       \
	"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/" \
	"'><s:Body>" body "</s:Body></s:Envelope>"
#define NS   " xmlns='http://microsoft.com/DRM/LicensingService'>"
#define ITEM "<AcquireLicenseParams><a b='>'/></AcquireLicenseParams>"
#define ASKED                                                      \
	SOAP("<AcquireLicense" NS "<RequestParams>" ITEM ITEM ITEM \
	     "</RequestParams></AcquireLicense>")
#define GOOD "<AcquireLicenseResponse><x/></AcquireLicenseResponse>"
#define BAD                                             \
	"<AcquireLicenseResponse><CertificateChain>"    \
	"<AcquireLicenseException/></CertificateChain>" \
	"</AcquireLicenseResponse>"
#define ANSWERED                                   \
	SOAP("<AcquireLicenseResponse" NS          \
	     "<AcquireLicenseResult>" BAD GOOD BAD \
	     "</AcquireLicenseResult></AcquireLicenseResponse>")

/* With the body whole, or each byte in a chunk of its own. */
static const char *
message(const char *head, const char *body, bool chunked)
{
	static char text[16384];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", head);

	if (!chunked) {
		snprintf(text + n, sizeof(text) - n,
			 "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
		return text;
	}
	n += (size_t)snprintf(text + n, sizeof(text) - n,
			      "Transfer-Encoding: chunked\r\n\r\n");
	for (; *body != '\0'; body++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "1\r\n%c\r\n",
				      *body);
	snprintf(text + n, sizeof(text) - n, "0\r\n\r\n");
	return text;
}

static const char *
ask(bool chunked)
{
	return message("POST " REQ_PATH " HTTP/1.1\r\nHost: c\r\n"
		       "Authorization: Negotiate bm8=\r\n"
		       "Content-Type: text/xml\r\n"
		       "SOAPAction: \"x/AcquireLicense\"\r\n",
		       ASKED, chunked);
}

static const char *
answer(bool chunked)
{
	return message("HTTP/1.1 200 OK\r\n", ANSWERED, chunked);
}

static void
send_split(struct end *e, const char *text, size_t at)
{
	end_send_bytes(e, text, at);
	world_run();
	end_send(e, text + at);
}

static void
counted(uint64_t requests)
{
	VIRT_NEED(world_stat(STAT_op_AcquireLicense) == requests);
	VIRT_NEED(world_stat(STAT_op_AcquireLicense_failed) == 0);
	VIRT_NEED(world_stat(STAT_items) == 3 * requests);
	VIRT_NEED(world_stat(STAT_items_failed) == 2 * requests);
	VIRT_NEED(world_stat(STAT_batches) == requests);
	VIRT_NEED(world_stat(STAT_batches_failed) == requests);
	VIRT_NEED(world_stat(STAT_soap_unread) == 0);
	VIRT_NEED(world_stat(STAT_soap_differs) == 0);
}

static void
split_anywhere(bool chunked, bool reply)
{
	struct end c, cloud = {.fd = -1};
	size_t len = strlen(reply ? answer(chunked) : ask(chunked));
	uint64_t n = 0;

	scene_up();
	end_dial(&c, false);
	for (size_t i = 1; i < len; i += chunked ? 7 : 1) {
		send_split(&c, ask(chunked && !reply), reply ? 1 : i);
		scene_serve(&cloud);
		VIRT_NEED(chunked || reply || end_has(&cloud, ASKED));
		end_clear(&cloud);
		send_split(&cloud, answer(chunked && reply), reply ? i : 1);
		scene_await_whole(&c);
		VIRT_NEED(chunked || end_has(&c, ANSWERED));
		end_clear(&c);
		counted(++n);
	}
}

SCENARIO(request_split_anywhere)
{
	split_anywhere(false, false);
}

SCENARIO(request_in_chunks_split_anywhere)
{
	split_anywhere(true, false);
}

SCENARIO(reply_split_anywhere)
{
	split_anywhere(false, true);
}

SCENARIO(reply_in_chunks_split_anywhere)
{
	split_anywhere(true, true);
}

SCENARIO(one_byte_at_a_time)
{
	struct end c, cloud = {.fd = -1};

	scene_up();
	virt_io = (struct virt_io){.recv_max = 1, .send_max = 1};
	end_dial(&c, false);
	end_send(&c, ask(false));
	scene_serve(&cloud);
	end_send(&cloud, answer(false));
	scene_await_whole(&c);
	counted(1);
}

/* What is sent twice is one request, and its items are counted once. */
SCENARIO(sent_again_and_counted_once)
{
	struct end c, cloud = {.fd = -1};

	scene_up();
	end_dial(&c, false);
	end_send(&c, ask(false));
	scene_serve(&cloud);
	end_clear(&cloud);
	end_send(&cloud, answer(false));
	scene_await_whole(&c);
	end_clear(&c);
	/* a pooled one dies in the middle: once more, on a new one */
	end_send_bytes(&c, ask(false), strlen(ask(false)) - 100);
	world_run();
	end_take(&cloud);
	VIRT_NEED(end_has(&cloud, ITEM ITEM), cloud.got);
	end_close(&cloud);
	world_run();
	end_send(&c, ask(false) + strlen(ask(false)) - 100);
	scene_serve(&cloud);
	end_send(&cloud, answer(false));
	scene_await_whole(&c);
	VIRT_NEED(world_stat(STAT_up_retries) == 1);
	counted(2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_split_anywhere),
	    cmocka_unit_test(request_in_chunks_split_anywhere),
	    cmocka_unit_test(reply_split_anywhere),
	    cmocka_unit_test(reply_in_chunks_split_anywhere),
	    cmocka_unit_test(one_byte_at_a_time),
	    cmocka_unit_test(sent_again_and_counted_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
