/*
 * Purpose: what rmsctl probe makes of answers and failures, and how it prints
 *          them; the network is the test's word.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/probe.h"

static struct probe_step step;
static const struct probe_url url = {
    .https = true, .host = "rms.test", .port = 443};

static void
assert_verdict(enum probe_at at, const char *says, const char *remedy)
{
	assert_int_equal(step.at, at);
	if (strstr(step.verdict, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", step.verdict, says);
	if (strstr(step.remedy, remedy) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", step.remedy, remedy);
}

/* The verdict on an answer with this status and body. */
static void
judge(long status, const char *id, const char *body)
{
	char *copy = strdup(body);
	struct probe_reply r = {.status = status, .len = strlen(body)};

	snprintf(r.request_id, sizeof(r.request_id), "%s", id);
	r.body = copy;
	memset(&step, 0, sizeof(step));
	judge_error(&step, &r);
	free(copy);
}

static void
test_the_connectors_own_errors(void **state)
{
	(void)state;
	judge(403, "i-1",
	      "<s:Envelope><s:Body><s:Fault><faultcode>soap:Server</faultcode>"
	      "<faultstring>RmsConnector.AUTH_DENIED: not &lt;in&gt; it "
	      "(i-1)</faultstring></s:Fault></s:Body></s:Envelope>");
	assert_verdict(AT_CLIENT, "RmsConnector.AUTH_DENIED: not <in> it",
		       "rmsctl explain");
	judge(502, "i-2", "RmsConnector.CLOUD_CERT: no (i-2)");
	assert_verdict(AT_NETWORK, "CLOUD_CERT", "cloud_ca_file");
	judge(504, "i-2", "RmsConnector.CLOUD_SLOW: no (i-2)");
	assert_verdict(AT_CLOUD, "CLOUD_SLOW", "rmsctl events");
	judge(500, "i-2", "RmsConnector.OF_A_NEWER_VERSION: x");
	assert_verdict(AT_CONNECTOR, "OF_A_NEWER_VERSION", "rmsctl events");
	judge(500, "", "RmsConnector.");
	assert_verdict(AT_CONNECTOR, "RmsConnector.", "rmsctl events");
}

static void
test_a_page_of_text_with_our_reason_in_it(void **state)
{
	(void)state;
	judge(401, "i",
	      "401 Unauthorized\r\nRmsConnector.AUTH_FAILED: the key "
	      "has another version\r\nmore\r\n");
	/* we had a ticket for that very name: the client is not at fault */
	assert_verdict(AT_CONNECTOR, "RmsConnector.AUTH_FAILED", "keytab");
	assert_string_equal(step.verdict,
			    "RmsConnector.AUTH_FAILED: the key has another "
			    "version");
}

static void
test_answers_of_others(void **state)
{
	char big[3000];

	(void)state;
	judge(500, "i",
	      "<a:Fault><faultstring>Microsoft.X: y</faultstring>"
	      "</a:Fault>");
	assert_verdict(AT_CLOUD, "the service answers: Microsoft.X: y", "");
	judge(503, "i", "busy");
	assert_verdict(AT_CLOUD, "HTTP 503", "access log");
	judge(200, "", "\r\n <html>sign in</html>\n");
	assert_verdict(AT_NETWORK, "HTTP 200, and not from a connector: <html>",
		       "proxy");
	judge(200, "", "");
	assert_verdict(AT_NETWORK, "not from a connector", "");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	judge(200, "", big);
	assert_true(strlen(step.verdict) < 200);
}

/* The verdict on a transfer that ended with this code. */
static void
transfer(const struct probe_reply *r)
{
	memset(&step, 0, sizeof(step));
	judge_transfer(&step, &url, r);
}

static void
test_transfers(void **state)
{
	(void)state;
	transfer(&(struct probe_reply){.code = CURLE_COULDNT_CONNECT,
				       .os_errno = ECONNREFUSED});
	assert_verdict(AT_CONNECTOR, "nobody listens on port 443 of rms.test",
		       "rmsctl status");
	transfer(&(struct probe_reply){.code = CURLE_COULDNT_CONNECT,
				       .os_errno = EHOSTUNREACH});
	assert_verdict(AT_NETWORK, "cannot be reached", "firewalls");
	transfer(&(struct probe_reply){.code = CURLE_OPERATION_TIMEDOUT});
	assert_verdict(AT_NETWORK, "does not answer within 10 s", "firewalls");
	transfer(&(struct probe_reply){.code = CURLE_OPERATION_TIMEDOUT,
				       .connect_us = 1});
	assert_verdict(AT_CONNECTOR, "TLS handshake does not end", "HTTPS");
	transfer(&(struct probe_reply){
	    .code = CURLE_OPERATION_TIMEDOUT, .connect_us = 1, .tls_us = 2});
	assert_verdict(AT_CONNECTOR, "no complete answer within 120 s", "");
	transfer(&(struct probe_reply){.code = CURLE_GOT_NOTHING});
	assert_verdict(AT_CONNECTOR, "the connection ended", "log");
	transfer(
	    &(struct probe_reply){.code = CURLE_WRITE_ERROR, .too_long = true});
	assert_verdict(AT_CLOUD, "longer than", "");
}

static void
test_certificates(void **state)
{
	struct probe_reply r = {.code = CURLE_PEER_FAILED_VERIFICATION};

	(void)state;
	r.verify = X509_V_ERR_CERT_HAS_EXPIRED;
	transfer(&r);
	assert_verdict(AT_CONNECTOR, "has expired", "renew");
	r.verify = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
	transfer(&r);
	assert_verdict(AT_CLIENT, "not trusted", "--cacert");
	r.verify = X509_V_OK;
	transfer(&r);
	assert_verdict(AT_CONNECTOR, "is not for rms.test", "use a name");
}

/* What probe prints at the end for these steps. */
static char *
printed(bool json, struct probe *p)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct ctl c = {.out = f, .err = f, .json = json};

	p->c = &c;
	probe_print_head(p);
	for (size_t i = 0; i < p->n; i++)
		probe_print_step(p, &p->step[i]);
	probe_print_end(p);
	fclose(f);
	return text;
}

static void
two_steps(struct probe *p)
{
	memset(p, 0, sizeof(*p));
	p->url = url;
	snprintf(p->url.base, sizeof(p->url.base),
		 "https://rms.test:443/_wmcs");
	p->n = 2;
	snprintf(p->step[0].name, sizeof(p->step[0].name), "look up the name");
	p->step[0].us = 1500;
	step_ok(&p->step[0], "10.0.0.1");
	snprintf(p->step[1].name, sizeof(p->step[1].name), "GetServerInfo");
	p->step[1].status = 502;
	p->step[1].bytes = 386;
	p->step[1].us = 2340;
	snprintf(p->step[1].request_id, sizeof(p->step[1].request_id), "i-9");
	step_fail(&p->step[1], AT_NETWORK, "mend it", "broken \x1b[m");
}

static void
test_printed_for_people(void **state)
{
	static struct probe p;
	char *text;

	(void)state;
	two_steps(&p);
	text = printed(false, &p);
	assert_string_equal(
	    text,
	    "STEP                                        HTTP    BYTES       "
	    "MS  VERDICT\n"
	    "look up the name                               -        -      "
	    "1.5  10.0.0.1\n"
	    "GetServerInfo                                502      386      "
	    "2.3  FAILED: broken \\x1b[m\n"
	    "\n"
	    "First failure: GetServerInfo\n"
	    "  what:       broken \\x1b[m\n"
	    "  at fault:   the network\n"
	    "  what to do: mend it\n"
	    "  request id: i-9\n");
	free(text);
	p.n = 1;
	text = printed(false, &p);
	assert_non_null(strstr(text, "Every step came out as it should."));
	free(text);
}

static void
test_printed_for_programs(void **state)
{
	static struct probe p;
	char *text;
	json_t *v;

	(void)state;
	two_steps(&p);
	step_fail(&p.step[1], AT_NETWORK, "mend it", "not UTF-8: \xff");
	text = printed(true, &p);
	v = json_loads(text, 0, NULL);
	assert_non_null(v);
	assert_true(json_is_false(json_object_get(v, "ok")));
	assert_true(json_is_null(json_object_get(v, "tenant_url")));
	assert_string_equal(
	    json_string_value(json_object_get(v, "first_failure")),
	    "GetServerInfo");
	assert_int_equal(json_array_size(json_object_get(v, "steps")), 2);
	assert_string_equal(
	    json_string_value(json_object_get(
		json_array_get(json_object_get(v, "steps"), 1), "at_fault")),
	    "network");
	json_decref(v);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_connectors_own_errors),
	    cmocka_unit_test(test_a_page_of_text_with_our_reason_in_it),
	    cmocka_unit_test(test_answers_of_others),
	    cmocka_unit_test(test_transfers),
	    cmocka_unit_test(test_certificates),
	    cmocka_unit_test(test_printed_for_people),
	    cmocka_unit_test(test_printed_for_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
