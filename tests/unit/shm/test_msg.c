/*
 * Bodies: what is packed comes back; what is not such a body is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shm/ipc.h"
#include "shm/msg.h"
#include "shm/base/log.h"

static uint8_t body[IPC_BODY_MAX], again[IPC_BODY_MAX];

/*
 * Packs in, unpacks into out, and holds: every shorter and every longer body
 * is refused, and so is a size too small; packing again gives the same bytes.
 */
#define ROUND(X, in, out)                                                      \
	do {                                                                   \
		size_t n_ = msg_##X##_pack(&(in), body, sizeof(body));         \
		struct msg_##X cut_;                                           \
                                                                               \
		assert_true(n_ > 0);                                           \
		for (size_t i_ = 0; i_ < n_; i_++) {                           \
			assert_int_equal(msg_##X##_unpack(&cut_, body, i_),    \
					 -EPROTO);                             \
			assert_int_equal(msg_##X##_pack(&(in), again, i_), 0); \
		}                                                              \
		body[n_] = 0;                                                  \
		assert_int_equal(msg_##X##_unpack(&cut_, body, n_ + 1),        \
				 -EPROTO);                                     \
		assert_int_equal(msg_##X##_unpack(&(out), body, n_), 0);       \
		assert_int_equal(msg_##X##_pack(&(out), again, n_), n_);       \
		assert_memory_equal(body, again, n_);                          \
	} while (0)

/* Packed, it is refused. */
#define REFUSED(X, in)                                                        \
	do {                                                                  \
		size_t n_ = msg_##X##_pack(&(in), body, sizeof(body));        \
		struct msg_##X out_;                                          \
                                                                              \
		assert_true(n_ > 0);                                          \
		assert_int_equal(msg_##X##_unpack(&out_, body, n_), -EPROTO); \
	} while (0)

#define S(text) SLICE_LIT(text)

static void
small_ones_come_back(void **state)
{
	struct msg_segment seg = {SEGMENT_TICKETS}, seg_r;
	struct msg_listener lis = {77}, lis_r;
	struct msg_peer peer = {ROLE_CLOUD, RELAY_MAX - 1, 1ULL << 33}, peer_r;
	struct msg_accuse acc = {ROLE_RELAY, 3, 1ULL << 34, S("why")}, acc_r;
	struct msg_set set = {UINT64_MAX}, set_r;
	struct msg_refused ref = {9, S("KEYTAB")}, ref_r;
	struct msg_drain drain = {30000}, drain_r;
	struct msg_token_stale ts = {3, 1ULL << 40}, ts_r;
	struct msg_listener_pem pem = {2, PEM_OCSP, 5, 99}, pem_r;
	struct msg_tls_key tk = {3, 7}, tk_r;
	struct msg_key_use ku = {"HTTP/c@R", 2, 18, 5, 7, 9, 11}, ku_r;
	struct msg_keeper_status ks = {1, S("HTTP/c@R 2 18\n")}, ks_r;

	(void)state;
	ROUND(segment, seg, seg_r);
	assert_int_equal(seg_r.kind, SEGMENT_TICKETS);
	ROUND(listener, lis, lis_r);
	assert_int_equal(lis_r.index, 77);
	ROUND(peer, peer, peer_r);
	assert_int_equal(peer_r.role, ROLE_CLOUD);
	assert_int_equal(peer_r.slot, RELAY_MAX - 1);
	assert_true(peer_r.life == 1ULL << 33);
	ROUND(accuse, acc, acc_r);
	assert_int_equal(acc_r.role, ROLE_RELAY);
	assert_int_equal(acc_r.slot, 3);
	assert_true(acc_r.life == 1ULL << 34);
	assert_true(slice_is(acc_r.why, "why"));
	ROUND(set, set, set_r);
	assert_true(set_r.number == UINT64_MAX);
	ROUND(refused, ref, ref_r);
	assert_true(ref_r.number == 9);
	assert_true(slice_is(ref_r.why, "KEYTAB"));
	ROUND(drain, drain, drain_r);
	assert_true(drain_r.ms == 30000);
	ROUND(token_stale, ts, ts_r);
	assert_int_equal(ts_r.credential, 3);
	assert_true(ts_r.serial == 1ULL << 40);
	ROUND(listener_pem, pem, pem_r);
	assert_true(pem_r.index == 2 && pem_r.kind == PEM_OCSP &&
		    pem_r.place == 5 && pem_r.until_s == 99);
	ROUND(tls_key, tk, tk_r);
	assert_true(tk_r.index == 3 && tk_r.place == 7);
	ROUND(key_use, ku, ku_r);
	assert_string_equal(ku_r.principal, "HTTP/c@R");
	assert_true(ku_r.last_ns == 9 && ku_r.life_s == 11);
	ROUND(keeper_status, ks, ks_r);
	assert_true(slice_is(ks_r.text, "HTTP/c@R 2 18\n"));
}

/* What the wire says is fixed: a body made by hand. */
static void
integers_travel_little_endian(void **state)
{
	static const uint8_t stale[] = {1, 2, 0, 0, 9, 8, 7, 6, 5, 4, 3, 2};
	struct msg_token_stale m;

	(void)state;
	assert_int_equal(msg_token_stale_unpack(&m, stale, sizeof(stale)), 0);
	assert_int_equal(m.credential, 0x0201);
	assert_true(m.serial == UINT64_C(0x0203040506070809));
}

/* A user's: source, length, S-1-5-21. */
#define ONE_SID "\0\14\1\1\0\0\0\0\0\5\25\0\0\0"

static void
an_event_and_a_seen_account_come_back(void **state)
{
	struct msg_event ev = {2001,
			       S("EXCH01$@CONTOSO.TEST"),
			       S("S-1-5-21-1"),
			       S("10.0.0.5"),
			       S("kerberos"),
			       S(""),
			       S("no entry")},
			 ev_r;
	struct msg_seen seen = {.allowed = true,
				.bound = true,
				.mech = MECH_KERBEROS,
				.role = SERVER_EXCHANGE,
				.verdict = VERDICT_ALLOW,
				.entry = 4,
				.other = 9,
				.matches = 2,
				.generation = 1000,
				.enctype = -133,
				.kvno = 3,
				.nsids = 1,
				.sids_hash = 77,
				.sids = S(ONE_SID),
				.account = S("a\nb\0c"),
				.sid = S(""),
				.spn = S("HTTP/x"),
				.address = S("::1"),
				.listener = S("https"),
				.request = S("r-1")},
			seen_r;

	(void)state;
	ROUND(event, ev, ev_r);
	assert_int_equal(ev_r.id, 2001);
	assert_true(slice_eq(ev_r.account, ev.account));
	assert_true(slice_eq(ev_r.sid, ev.sid));
	assert_true(slice_eq(ev_r.address, ev.address));
	assert_true(slice_eq(ev_r.mech, ev.mech));
	assert_int_equal(ev_r.request.len, 0);
	assert_true(slice_eq(ev_r.detail, ev.detail));
	ROUND(seen, seen, seen_r);
	assert_true(seen_r.allowed && !seen_r.tls && seen_r.bound);
	assert_int_equal(seen_r.mech, MECH_KERBEROS);
	assert_int_equal(seen_r.role, SERVER_EXCHANGE);
	assert_int_equal(seen_r.entry, 4);
	assert_int_equal(seen_r.other, 9);
	assert_int_equal(seen_r.enctype, -133);
	assert_int_equal(seen_r.kvno, 3);
	assert_true(seen_r.generation == 1000);
	assert_true(slice_eq(seen_r.account, seen.account));
	assert_true(slice_eq(seen_r.spn, seen.spn));
	assert_true(slice_eq(seen_r.address, seen.address));
	assert_true(slice_eq(seen_r.request, seen.request));
	assert_true(slice_eq(seen_r.listener, seen.listener));
	assert_int_equal(seen_r.matches, 2);
	assert_int_equal(seen_r.nsids, 1);
	assert_true(seen_r.sids_hash == 77);
	assert_true(slice_eq(seen_r.sids, seen.sids));
}

static void
authentication_comes_back(void **state)
{
	struct msg_auth_step st = {.deadline_ms = 5000,
				   .first = 1,
				   .must_bind = true,
				   .own = true,
				   .nbindings = 2,
				   .binding = {S("tls-server-end-point:x"),
					       S("tls-server-end-point:y")},
				   .token = S("\x60\x82token")},
			     st_r;
	struct msg_auth_reply ok = {AUTH_OK, CAUSE_NONE,    80000, S("tok"),
				    S(""),   S("identity"), 0,	   S("")},
			      rep_r;
	struct msg_auth_reply no = {AUTH_FAILED, CAUSE_KVNO, 1,
				    S(""),	 S("gss"),   S(""),
				    MECH_NTLM,	 S("D\\u")};
	struct msg_sign sign = {1, SIGN_ECDSA, S("digest"), 77}, sign_r;
	struct msg_sign_reply sr = {true, S("signature")}, sr_r;
	struct msg_sign_reply bad = {false, S("")};

	(void)state;
	ROUND(auth_step, st, st_r);
	assert_int_equal(st_r.deadline_ms, 5000);
	assert_int_equal(st_r.first, 1);
	assert_true(st_r.must_bind && st_r.own);
	assert_int_equal(st_r.nbindings, 2);
	assert_true(slice_eq(st_r.binding[0], st.binding[0]));
	assert_true(slice_eq(st_r.binding[1], st.binding[1]));
	assert_true(slice_eq(st_r.token, st.token));
	ROUND(auth_reply, ok, rep_r);
	assert_int_equal(rep_r.outcome, AUTH_OK);
	assert_true(slice_is(rep_r.identity, "identity"));
	assert_true(slice_is(rep_r.token, "tok"));
	assert_true(rep_r.took_ns == 80000);
	ROUND(auth_reply, no, rep_r);
	assert_int_equal(rep_r.cause, CAUSE_KVNO);
	assert_true(slice_is(rep_r.detail, "gss"));
	assert_int_equal(rep_r.mech, MECH_NTLM);
	assert_true(slice_is(rep_r.claimed, "D\\u"));
	ROUND(sign, sign, sign_r);
	assert_int_equal(sign_r.op, SIGN_ECDSA);
	assert_true(slice_is(sign_r.data, "digest"));
	ROUND(sign_reply, sr, sr_r);
	assert_true(sr_r.ok);
	ROUND(sign_reply, bad, sr_r);
	assert_false(sr_r.ok);
}

static void
lists_come_back(void **state)
{
	static struct msg_creds in = {
	    2,
	    {{1, CRED_CLOUD, "tenant", "client-1", "hunter2"},
	     {9, CRED_PROXY, "super", "client-9", ""}}};
	static struct msg_cloud_status st = {
	    .n = 1,
	    .cred = {{4, 2, 3000, 60, "400 invalid_client"}},
	    .naddr = 2,
	    .dns_failed = true,
	    .addrs = "192.0.2.1,192.0.2.2",
	    .dns_error = "timeout"};
	static struct msg_creds in_r;
	static struct msg_cloud_status st_r;

	(void)state;
	ROUND(creds, in, in_r);
	assert_memory_equal(&in, &in_r, sizeof(in));
	ROUND(cloud_status, st, st_r);
	assert_memory_equal(&st, &st_r, sizeof(st));
	in.n = 0;
	ROUND(creds, in, in_r);
	assert_int_equal(in_r.n, 0);
}

/* A full house of the longest texts fits the table's bound. */
static void
the_largest_lists_fit_their_message(void **state)
{
	static struct msg_creds m, m_r;

	(void)state;
	m.n = MSG_CREDS_MAX;
	for (size_t i = 0; i < m.n; i++) {
		memset(m.cred[i].name, 'n', sizeof(m.cred[i].name) - 1);
		memset(m.cred[i].client_id, 'c',
		       sizeof(m.cred[i].client_id) - 1);
		memset(m.cred[i].secret, 's', sizeof(m.cred[i].secret) - 1);
	}
	assert_true(
	    msg_creds_pack(&m, body, ipc_rule(IPC_CREDENTIALS)->max_bytes) > 0);
	ROUND(creds, m, m_r);
}

static void
a_secret_that_was_refused_is_wiped(void **state)
{
	static struct msg_creds in = {1,
				      {{1, CRED_PROXY, "n", "c", "hunter2"}}},
				out;
	static const struct msg_creds zero;
	size_t n = msg_creds_pack(&in, body, sizeof(body));

	(void)state;
	assert_true(n > 0);
	assert_int_equal(msg_creds_unpack(&out, body, n + 1), -EPROTO);
	assert_memory_equal(&out, &zero, sizeof(out));
}

static void
values_out_of_range_are_refused(void **state)
{
	struct msg_segment seg = {SEGMENT_MAX};
	struct msg_peer peer = {ROLE_MAX, 0, 1};
	struct msg_accuse acc = {ROLE_MAX, 0, 1, S("")};
	struct msg_seen seen = {.mech = MECH_CERT + 1};
	static const char text[MSG_TOKEN_BYTES_MAX + 1];
	struct msg_auth_step st = {.first = 2};
	struct msg_listener_pem pem = {0, PEM_MAX, 0, 0};
	struct msg_listener_pem pem_at = {0, PEM_CLIENT_CA, 1, 0};
	struct msg_listener_pem pem_until = {0, PEM_CHAIN, 1, 2};
	struct msg_sign sign = {.op = SIGN_ECDSA + 1};
	struct msg_sign_reply sr = {true, S("")};
	size_t n;

	(void)state;
	REFUSED(segment, seg);
	seg.kind = 0;
	REFUSED(segment, seg);
	REFUSED(listener_pem, pem);
	REFUSED(listener_pem, pem_at);
	REFUSED(listener_pem, pem_until);
	REFUSED(peer, peer);
	peer = (struct msg_peer){ROLE_RELAY, RELAY_MAX, 1};
	REFUSED(peer, peer);
	REFUSED(accuse, acc);
	acc = (struct msg_accuse){ROLE_RELAY, RELAY_MAX, 1, S("")};
	REFUSED(accuse, acc);
	REFUSED(seen, seen);
	seen = (struct msg_seen){.role = SERVER_ROLE_MAX};
	REFUSED(seen, seen);
	seen = (struct msg_seen){.verdict = VERDICT_NO_TABLE + 1};
	REFUSED(seen, seen);
	seen = (struct msg_seen){.lack = LACK_MAX};
	REFUSED(seen, seen);
	/* SIDs that are not as many as it says, or no SIDs; and none that
	 * lack although there are some */
	seen = (struct msg_seen){.nsids = 2, .sids = S(ONE_SID)};
	REFUSED(seen, seen);
	seen = (struct msg_seen){.nsids = 1, .sids = S("\0\14\1\1\0\0")};
	REFUSED(seen, seen);
	seen = (struct msg_seen){.nsids = IDENTITY_SIDS_MAX + 1};
	REFUSED(seen, seen);
	seen = (struct msg_seen){.nsids = 1, .lack = LACK_SIGNATURE};
	REFUSED(seen, seen);
	REFUSED(auth_step, st);
	st = (struct msg_auth_step){.own = true};
	REFUSED(auth_step, st);
	st = (struct msg_auth_step){.nbindings = 1};
	REFUSED(auth_step, st);
	st.binding[0] = (struct slice){text, MSG_BINDING_BYTES_MAX + 1};
	REFUSED(auth_step, st);
	st.binding[0].len--;
	n = msg_auth_step_pack(&st, body, sizeof(body));
	assert_int_equal(msg_auth_step_unpack(&st, body, n), 0);
	body[7] = MSG_BINDINGS_MAX + 1;
	assert_int_equal(msg_auth_step_unpack(&st, body, n), -EPROTO);
	st = (struct msg_auth_step){.token = {text, MSG_TOKEN_BYTES_MAX + 1}};
	REFUSED(auth_step, st);
	REFUSED(sign, sign);
	sign.op = 0;
	REFUSED(sign, sign);
	REFUSED(sign_reply, sr);
	sr = (struct msg_sign_reply){false, S("x")};
	REFUSED(sign_reply, sr);
	/* A truth that is neither 0 nor 1. */
	seen = (struct msg_seen){.allowed = true};
	n = msg_seen_pack(&seen, body, sizeof(body));
	assert_int_equal(msg_seen_unpack(&seen, body, n), 0);
	body[0] = 2;
	assert_int_equal(msg_seen_unpack(&seen, body, n), -EPROTO);
}

static void
replies_that_contradict_themselves_are_refused(void **state)
{
	static const char name[512];
	static const struct msg_auth_reply bad[] = {
	    {AUTH_OK, CAUSE_NONE, 0, {0}, {0}, {0}, 0, {0}}, /* without whom */
	    {AUTH_OK, CAUSE_KVNO, 0, {0}, {0}, {"i", 1}, 0, {0}}, /* and a cause
								   */
	    {AUTH_CONTINUE, CAUSE_NONE, 0, {0}, {0}, {0}, 0, {0}}, /* nothing to
								      send */
	    {AUTH_CONTINUE, CAUSE_NONE, 0, {"t", 1}, {0}, {"i", 1}, 0, {0}},
	    {AUTH_FAILED, CAUSE_NONE, 0, {0}, {0}, {0}, 0, {0}}, /* but why? */
	    {AUTH_FAILED, CAUSE_KVNO, 0, {0}, {0}, {"i", 1}, 0, {0}},
	    {AUTH_BUSY, CAUSE_BUSY, 0, {0}, {0}, {"i", 1}, 0, {0}},
	    {AUTH_FAILED, CAUSE_MAX, 0, {0}, {0}, {0}, 0, {0}},
	    {AUTH_BUSY + 1, CAUSE_NONE, 0, {0}, {0}, {0}, 0, {0}},
	    /* a claim beside an identity, without a way, too long */
	    {AUTH_OK, CAUSE_NONE, 0, {0}, {0}, {"i", 1}, MECH_NTLM, {"a", 1}},
	    {AUTH_FAILED, CAUSE_KVNO, 0, {0}, {0}, {0}, MECH_NONE, {"a", 1}},
	    {AUTH_FAILED, CAUSE_KVNO, 0, {0}, {0}, {0}, MECH_CERT + 1, {0}},
	    {AUTH_FAILED, CAUSE_KVNO, 0, {0}, {0}, {0}, MECH_NTLM, {name, 512}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		REFUSED(auth_reply, bad[i]);
}

/* Lengths and counts that point beyond the body. */
static void
bodies_that_lie_about_their_lengths_are_refused(void **state)
{
	static struct msg_creds creds;
	static struct msg_cloud_status st;
	struct msg_refused ref;

	(void)state;
	memset(body, 0xff, 64);
	assert_int_equal(msg_refused_unpack(&ref, body, 12), -EPROTO);
	assert_int_equal(msg_creds_unpack(&creds, body, 64), -EPROTO);
	assert_int_equal(msg_cloud_status_unpack(&st, body, 64), -EPROTO);
	memset(body, 0, 64);
	body[0] = MSG_CREDS_MAX + 1;
	assert_int_equal(msg_creds_unpack(&creds, body, 64), -EPROTO);
	/* A NUL inside of a text that is copied. */
	memcpy(body, "\1\0\0\0\7\0\0\0\0\0\0\0\3\0\0\0a\0b\0\0\0\0\0\0\0\0",
	       27);
	assert_int_equal(msg_creds_unpack(&creds, body, 27), -EPROTO);
	body[17] = 'x';
	assert_int_equal(msg_creds_unpack(&creds, body, 27), 0);
	assert_string_equal(creds.cred[0].name, "axb");
	body[8] = CRED_KIND_MAX;
	assert_int_equal(msg_creds_unpack(&creds, body, 27), -EPROTO);
}

static void
every_cause_has_a_name_a_text_and_a_remedy(void **state)
{
	(void)state;
	assert_string_equal(auth_cause_name(CAUSE_NO_KEY_FOR_SPN),
			    "no-key-for-spn");
	for (unsigned c = CAUSE_NONE + 1; c < CAUSE_MAX; c++) {
		assert_true(strlen(auth_cause_name(c)) > 0);
		assert_true(strlen(auth_cause_text(c)) > 0);
		assert_true(strlen(auth_cause_remedy(c)) > 0);
		for (unsigned d = 0; d < c; d++)
			assert_string_not_equal(auth_cause_name(c),
						auth_cause_name(d));
	}
	assert_string_equal(auth_cause_name(CAUSE_MAX), "internal");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(small_ones_come_back),
	    cmocka_unit_test(integers_travel_little_endian),
	    cmocka_unit_test(an_event_and_a_seen_account_come_back),
	    cmocka_unit_test(authentication_comes_back),
	    cmocka_unit_test(lists_come_back),
	    cmocka_unit_test(the_largest_lists_fit_their_message),
	    cmocka_unit_test(a_secret_that_was_refused_is_wiped),
	    cmocka_unit_test(values_out_of_range_are_refused),
	    cmocka_unit_test(replies_that_contradict_themselves_are_refused),
	    cmocka_unit_test(bodies_that_lie_about_their_lengths_are_refused),
	    cmocka_unit_test(every_cause_has_a_name_a_text_and_a_remedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
