"""rms-keeper with real tickets of a MIT KDC: who is let in, and what the one
who must mend a failure is told."""

import os
import struct
import subprocess

import pytest

import keeper_peers as k

BUILD = os.environ.get("BUILD", "build/debug")
RSA_RAW, RSA_PKCS1, ECDSA = 1, 2, 3
AES128, AES256 = 17, 18


@pytest.fixture(scope="module")
def kdc(tmp_path_factory):
    it = k.Kdc(tmp_path_factory.mktemp("kdc"))
    it.use()
    yield it
    it.stop()


@pytest.fixture
def run(kdc, tmp_path):
    """run(keytab, **settings): a keeper that is up."""
    keepers = []

    def start(keytab="good", **settings):
        keeper = k.Keeper(BUILD, str(tmp_path / "log"))
        keepers.append(keeper)
        keeper.status = keeper.start(kdc.config, keytab and kdc.keytab(keytab), **settings)
        return keeper

    yield start
    for keeper in keepers:
        keeper.stop()
        with open(keeper.log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        assert "Sanitizer" not in text and "BUG" not in text, text


@pytest.fixture
def keeper(run):
    return run()


# --- who is let in ---------------------------------------------------------


@pytest.mark.parametrize("mech", [k.SPNEGO, k.KRB5])
def test_right_ticket(keeper, mech):
    client = k.client(mech=mech)
    answer = keeper.step(client.step())
    assert answer["outcome"] == "ok"
    assert answer["principal"] == f"{k.CLIENT}@{k.REALM}"
    assert answer["spn"] == f"{k.SERVICE}@{k.REALM}"
    assert (answer["mech"], answer["enctype"], answer["kvno"]) == ("kerberos", AES256, 2)
    assert not answer["bound"] and answer["nsids"] == 0
    client.step(bytes.fromhex(answer["token"]))
    assert client.complete  # mutual authentication
    assert keeper.stats()["accepts"] == 1


def test_status_lists_the_keys(keeper):
    assert keeper.status["entries"] == 2
    assert f"{k.SERVICE}@{k.REALM} 2 aes256-cts-hmac-sha1-96\n" in keeper.status["text"]


def test_two_legs(keeper):
    number = keeper.new_id()
    answer = keeper.step(k.spnego_init([k.OID_KRB5]), number=number)
    assert answer["outcome"] == "continue" and answer["token"]
    answer = keeper.step(k.spnego_answer(k.token(mech=k.KRB5)), number=number, first=False)
    assert answer["outcome"] == "ok"
    assert answer["principal"] == f"{k.CLIENT}@{k.REALM}" and answer["enctype"] == AES256


def test_second_leg_after_abort_or_timeout(run):
    keeper = run(auth_timeout_ms=300)
    for end in ("abort", "time"):
        number = keeper.new_id()
        assert keeper.step(k.spnego_init([k.OID_KRB5]), number=number)["outcome"] == "continue"
        if end == "abort":
            keeper.say("abort 0", number)
        else:
            k.time.sleep(1.2)
        answer = keeper.step(k.spnego_answer(k.token(mech=k.KRB5)), number=number, first=False)
        assert (answer["outcome"], answer["cause"]) == ("busy", "timeout")


def test_legs_of_one_relay_are_not_anothers(keeper):
    keeper.say("peer 1")
    number = keeper.new_id()
    keeper.step(k.spnego_init([k.OID_KRB5]), number=number)
    answer = keeper.step(k.spnego_answer(k.token(mech=k.KRB5)), slot=1, number=number, first=False)
    assert answer["outcome"] == "busy"


BINDING = b"tls-server-end-point:" + bytes(range(32))


def test_binding_right(keeper):
    answer = keeper.step(k.token(binding=BINDING), binding=BINDING)
    assert answer["outcome"] == "ok" and answer["bound"] and not answer["bound_before"]


def test_binding_wrong(keeper):
    answer = keeper.step(k.token(binding=b"tls-server-end-point:" + bytes(32)), binding=BINDING)
    assert (answer["outcome"], answer["cause"]) == ("failed", "bad-binding")


def test_binding_none(keeper):
    answer = keeper.step(k.token(), binding=BINDING)
    assert answer["outcome"] == "ok" and not answer["bound"]


OTHERS = [b"tls-server-end-point:" + bytes([i]) * 32 for i in range(1, 8)]


@pytest.mark.parametrize("mech", [k.SPNEGO, k.KRB5])
@pytest.mark.parametrize("which", [0, 6])
def test_binding_to_a_further_certificate(keeper, mech, which):
    """A balancer's, the old or the new one; told apart from our own."""
    client = k.client(mech=mech, binding=OTHERS[which])
    data = client.step()
    answer = keeper.step(data, binding=BINDING, further=OTHERS, must_bind=True)
    assert answer["outcome"] == "ok" and answer["bound"] and answer["bound_before"]
    client.step(bytes.fromhex(answer["token"]))
    assert client.complete
    # Each of the tries saw the authenticator; it is used up all the same.
    refused(keeper.step(data, binding=BINDING, further=OTHERS), "replay")
    refused(keeper.step(data, binding=OTHERS[which]), "replay")


def test_binding_without_own_certificate(keeper):
    """A plain listener behind somebody who ends TLS."""
    answer = keeper.step(k.token(binding=OTHERS[0]), further=OTHERS[:1], must_bind=True)
    assert answer["outcome"] == "ok" and answer["bound_before"]
    refused(keeper.step(k.token(binding=BINDING), further=OTHERS, must_bind=True), "bad-binding")


def test_binding_must_be_there(keeper):
    for options in ({"binding": BINDING}, {"further": OTHERS}, {}):
        refused(keeper.step(k.token(), must_bind=True, **options), "not-bound")
    refused(keeper.step(k.token(binding=OTHERS[0]), binding=BINDING, must_bind=True),
            "bad-binding")
    answer = keeper.step(k.token(binding=BINDING), binding=BINDING, must_bind=True)
    assert answer["outcome"] == "ok" and answer["bound"] and not answer["bound_before"]


def test_binding_in_a_second_leg(keeper):
    def second(data, **options):
        number = keeper.new_id()
        keeper.step(k.spnego_init([k.OID_KRB5]), number=number, **options)
        return keeper.step(k.spnego_answer(data), number=number, first=False, **options)
    options = {"binding": BINDING, "further": OTHERS[:1]}
    answer = second(k.token(mech=k.KRB5, binding=BINDING), must_bind=True, **options)
    assert answer["outcome"] == "ok" and answer["bound"] and not answer["bound_before"]
    refused(second(k.token(mech=k.KRB5), must_bind=True, **options), "not-bound")
    refused(second(k.token(mech=k.KRB5, binding=OTHERS[0]), **options), "bad-binding")


# --- who is not, and why -----------------------------------------------------


def refused(answer, cause):
    assert (answer["outcome"], answer["cause"]) == ("failed", cause), answer
    assert "principal" not in answer


def test_no_keytab(run):
    refused(run(keytab=None).step(k.token()), "no-keytab")


def test_no_key_for_spn(run):
    answer = run(keytab="other").step(k.token())
    refused(answer, "no-key-for-spn")
    assert f"ticket for {k.SERVICE}@{k.REALM}" in answer["detail"]


def test_old_kvno(run):
    answer = run(keytab="old").step(k.token())
    refused(answer, "kvno")
    assert "kvno 2" in answer["detail"] and "newest in the keytab is kvno 1" in answer["detail"]


def test_enctype(run, kdc):
    kdc.write_keytab("aes128", [(k.SERVICE, 2, AES128, os.urandom(16))])
    answer = run(keytab="aes128").step(k.token())
    refused(answer, "enctype")
    assert "aes256-cts-hmac-sha1-96" in answer["detail"]


def test_wrong_key(run, kdc):
    kdc.write_keytab("wrong", [(k.SERVICE, 2, AES256, os.urandom(32))])
    refused(run(keytab="wrong").step(k.token()), "wrong-key")


@pytest.mark.parametrize("offset", ["-6m", "+6m"])
def test_clock_skew(keeper, kdc, offset):
    refused(keeper.step(kdc.token_at(offset)), "clock-skew")


def test_clock_skew_of_krb5_conf(run, kdc, tmp_path):
    """The administrator's, as far as tokens are remembered for it."""
    with open(kdc.config, encoding="ascii") as file:
        own = file.read()
    config = tmp_path / "krb5.conf"
    config.write_text("[libdefaults]\n clockskew = 900\n" + own)
    keeper = run(krb5_config=config)
    data = kdc.token_at("+12m")
    assert keeper.step(data)["outcome"] == "ok"
    refused(keeper.step(data), "replay")
    refused(keeper.step(kdc.token_at("+20m")), "clock-skew")
    config.write_text("[libdefaults]\n clockskew = 8000\n" + own)
    keeper.reload(kdc.keytab("good"))
    assert keeper.step(kdc.token_at("+50m"))["outcome"] == "ok"
    refused(keeper.step(kdc.token_at("+70m")), "clock-skew")
    with open(keeper.log, encoding="utf-8") as file:
        assert "clockskew = 8000 is not between 0 and 3600 seconds: 3600 is used" in file.read()


def test_replay(keeper):
    data = k.token()
    assert keeper.step(data)["outcome"] == "ok"
    refused(keeper.step(data), "replay")
    keeper.say("peer 1")
    refused(keeper.step(data, slot=1), "replay")


def test_replay_in_other_clothes(keeper):
    """The same authenticator, wrapped in another way and spread over legs."""
    data = k.token(mech=k.KRB5)
    assert keeper.step(data)["outcome"] == "ok"
    refused(keeper.step(k.spnego_init([k.OID_KRB5], data)), "replay")
    number = keeper.new_id()
    keeper.step(k.spnego_init([k.OID_KRB5]), number=number)
    refused(keeper.step(k.spnego_answer(data), number=number, first=False), "replay")


def test_altered_authenticator(keeper):
    data = bytearray(k.token(mech=k.KRB5))
    data[-1] ^= 1
    refused(keeper.step(bytes(data)), "malformed")


@pytest.mark.parametrize("data", [b"", b"\0", b"\x60", os.urandom(300), os.urandom(66000),
                                  b"\x60\x84\xff\xff\xff\xff" + bytes(60)],
                         ids=["none", "nul", "cut", "random", "66kB", "length"])
def test_garbage(keeper, data):
    refused(keeper.step(data), "malformed")
    assert keeper.step(k.token())["outcome"] == "ok"


def test_cut_token(keeper):
    data = k.token()
    for n in range(0, len(data) - 1, 37):
        refused(keeper.step(data[:n]), "malformed")


def test_trailing_bytes(keeper):
    refused(keeper.step(k.token() + b"\0"), "malformed")


@pytest.mark.parametrize("data", [k.NTLMSSP, k.spnego_init([k.OID_NTLM], k.NTLMSSP)],
                         ids=["raw", "spnego"])
def test_ntlm(keeper, data):
    refused(keeper.step(data), "ntlm")


def test_ntlm_first_then_kerberos(keeper):
    """A client that would rather have NTLM is led to Kerberos."""
    answer = keeper.step(k.spnego_init([k.OID_NTLM, k.OID_KRB5], k.NTLMSSP))
    assert answer["outcome"] == "continue"


def test_other_mechanism(keeper):
    other = bytes.fromhex("060a2b0601040182370202") + b"\x1e"  # NegoEx
    refused(keeper.step(k.spnego_init([other], b"NEGOEXTS")), "no-mech")
    iakerb = bytes.fromhex("06062b0601050205")
    refused(keeper.step(k.der(0x60, iakerb, b"\5\1")), "no-mech")


# --- the queue -----------------------------------------------------------------


def test_queue_overflow(run):
    keeper = run(keeper_queue_max=4)
    data = k.token()
    keeper.say("flood 0 1000 200", data.hex())
    answers = [keeper.wait("auth", id=1000 + i) for i in range(200)]
    busy = [a for a in answers if a["outcome"] == "busy"]
    assert busy and all(a["cause"] == "busy" for a in busy)
    assert len([a for a in answers if a["outcome"] == "ok"]) == 1
    assert keeper.stats()["queue"] == 0
    assert keeper.step(k.token())["outcome"] == "ok"


def test_late_step_is_not_tried(keeper):
    answer = keeper.step(k.token(), deadline=0)
    assert (answer["outcome"], answer["cause"]) == ("busy", "timeout")
    assert keeper.stats()["accepts"] == 0


# --- half-done handshakes --------------------------------------------------------

OPEN_SLOT_MAX, OPEN_MAX = 1024, 4096  # ACCEPT_OPEN_SLOT_MAX, ACCEPT_OPEN_MAX
TOKENLESS = k.spnego_init([k.OID_KRB5])


def half_done(keeper, slot, count):
    """So many exchanges that a stranger began; what each was answered."""
    first = 1000000 * (slot + 1)
    keeper.say("flood", slot, first, count, TOKENLESS.hex())
    return [keeper.wait("auth", slot=slot, id=first + i) for i in range(count)]


def is_too_many(answer):
    return (answer["outcome"], answer["cause"]) == ("busy", "half-done") and not answer["token"]


def test_half_done_of_a_relay_keep_no_ticket_out(run):
    """Whoever begins and never goes on takes the places of those who need
    more than one leg, not of a client that comes with its ticket."""
    keeper = run(keeper_queue_max=10000, auth_timeout_ms=120000)
    answers = half_done(keeper, 0, OPEN_SLOT_MAX + 76)
    assert all(a["outcome"] == "continue" for a in answers[:OPEN_SLOT_MAX])
    assert all(is_too_many(a) for a in answers[OPEN_SLOT_MAX:])
    assert keeper.step(k.token())["outcome"] == "ok"
    assert keeper.step(k.token(mech=k.KRB5))["outcome"] == "ok"
    refused(keeper.step(k.spnego_init([k.OID_NTLM], k.NTLMSSP)), "ntlm")
    # The same number again ends the old exchange: its place is free.
    assert keeper.step(TOKENLESS, number=1000000)["outcome"] == "continue"
    assert is_too_many(keeper.step(TOKENLESS))
    assert keeper.step(k.token(), number=1000001)["outcome"] == "ok"
    assert keeper.step(TOKENLESS)["outcome"] == "continue"
    # One that has a place goes on to its end.
    answer = keeper.step(k.spnego_answer(k.token(mech=k.KRB5)), number=1000002, first=False)
    assert answer["outcome"] == "ok"


def test_half_done_of_all_relays_keep_no_ticket_out(run):
    keeper = run(keeper_queue_max=10000, auth_timeout_ms=120000)
    for slot in range(OPEN_MAX // OPEN_SLOT_MAX):
        keeper.say("peer", slot)
        assert all(a["outcome"] == "continue" for a in half_done(keeper, slot, OPEN_SLOT_MAX))
    keeper.say("peer 4")
    assert is_too_many(keeper.step(TOKENLESS, slot=4))
    assert keeper.step(k.token(), slot=4)["outcome"] == "ok"
    # A relay that goes gives its places back.
    keeper.say("part 0")
    keeper.say("peer 0")
    assert keeper.step(TOKENLESS, slot=4)["outcome"] == "continue"


# --- relays --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["body", "type"])
def test_relay_that_lies_loses_its_channel_only(keeper, how):
    keeper.say("peer 1")
    if how == "body":
        keeper.say("body 1", keeper.stats()["AUTH_STEP"], "ff" * 40)
    else:  # a message that only the master may send
        keeper.say("raw 1", struct.pack("<IIQ", keeper.stats()["CONF_DONE"], 0, 0).hex())
    keeper.wait("cut", slot=1)
    told = keeper.wait("accuse", role="relay", slot=1)
    assert told["why"]
    assert keeper.step(k.token())["outcome"] == "ok"
    keeper.say("peer 1")
    assert keeper.step(k.token(), slot=1)["outcome"] == "ok"


def test_replaced_relay(keeper):
    keeper.say("part 0")
    keeper.say("peer 0")
    assert keeper.step(k.token())["outcome"] == "ok"
    keeper.say("peer 0")
    assert keeper.step(k.token())["outcome"] == "ok"


def test_drain_waits_for_the_relays(keeper):
    keeper.say("drain 0")
    assert keeper.step(k.token())["outcome"] == "ok"
    keeper.say("part 0")
    assert keeper.wait("end")["status"] == 0


def test_drain_is_bounded(keeper):
    keeper.say("drain 100")
    assert keeper.wait("end")["status"] == 0


# --- reload ----------------------------------------------------------------------


def test_reload_takes_a_new_keytab(run, kdc):
    keeper = run(keytab="other")
    refused(keeper.step(k.token()), "no-key-for-spn")
    assert keeper.reload(kdc.keytab("good"))["entries"] == 2
    assert keeper.step(k.token())["outcome"] == "ok"
    keeper.reload(kdc.keytab("other"))  # the keys of the one before are gone
    refused(keeper.step(k.token()), "no-key-for-spn")
    keeper.reload(None)
    refused(keeper.step(k.token()), "no-keytab")


@pytest.mark.parametrize("how", ["cut", "garbage", "empty"])
def test_bad_keytab_keeps_the_last_good_one(keeper, kdc, how):
    with open(kdc.keytab("good"), "rb") as file:
        good = file.read()
    bad = kdc.write("bad.keytab", {"cut": good[:-5], "garbage": b"x" * 99, "empty": b""}[how])
    assert keeper.reload(bad)["entries"] == 2
    assert "stays in force" in keeper.wait("event", id=3109)["detail"]
    assert keeper.step(k.token())["outcome"] == "ok"


def test_keytab_changes_between_sets(run, kdc):
    """Also between the legs of an exchange."""
    keeper = run(keytab="old")
    number = keeper.new_id()
    assert keeper.step(k.spnego_init([k.OID_KRB5]), number=number)["outcome"] == "continue"
    assert keeper.news(kdc.keytab("good"))["entries"] == 2
    answer = keeper.step(k.spnego_answer(k.token(mech=k.KRB5)), number=number, first=False)
    assert answer["outcome"] == "ok"
    told = keeper.wait("event", id=1105)["detail"]
    aes = [f"{k.SERVICE}@{k.REALM} kvno {n} aes{bits}-cts-hmac-sha1-96"
           for n in (2, 1) for bits in (256, 128)]
    assert told == f"new: {aes[0]}, and {aes[1]}, gone: {aes[2]}, and {aes[3]}"
    keeper.news(kdc.keytab("good"))
    assert keeper.wait("event", id=1105)["detail"] == "the same principals, versions and types"


def test_bad_news_of_the_keytab(keeper, kdc):
    assert keeper.news(kdc.write("bad.keytab", b"x" * 99))["entries"] == 2
    assert "stays in force" in keeper.wait("event", id=3109)["detail"]
    assert keeper.step(k.token())["outcome"] == "ok"


def test_keytab_may_be_gone(keeper, kdc, tmp_path):
    """The keys are in memory: no file is needed for an accept."""
    path = tmp_path / "x.keytab"
    path.write_bytes(open(kdc.keytab("good"), "rb").read())
    keeper.reload(str(path))
    path.unlink()
    assert keeper.step(k.token())["outcome"] == "ok"


# --- TLS keys --------------------------------------------------------------------


def openssl(*argv, data=None):
    return subprocess.run(["openssl", *argv], check=True, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


@pytest.fixture
def keys(tmp_path):
    rsa, ec = str(tmp_path / "rsa.pem"), str(tmp_path / "ec.pem")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", rsa)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", ec)
    for path in (rsa, ec):
        openssl("pkey", "-in", path, "-pubout", "-out", path + ".pub")
    return rsa, ec


def pss_block(rsa, recover, digest):
    """What a TLS 1.3 server has signed with this key."""
    signature = openssl("pkeyutl", "-sign", "-inkey", rsa, "-pkeyopt", "digest:sha256",
                        "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest",
                        data=digest)
    return openssl(*recover, data=signature)


def bare_rsa(rsa):
    """The public operation without a padding, as words for openssl()."""
    return ("pkeyutl", "-encrypt", "-pubin", "-inkey", rsa + ".pub", "-pkeyopt",
            "rsa_padding_mode:none")


# DigestInfo of SHA-256 (RFC 8017 9.2, note 1), up to the digest.
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def test_sign(keeper, keys, tmp_path):
    rsa, ec = keys
    assert keeper.sign(0, ECDSA, bytes(32)) is None
    keeper.say("key 0", rsa)
    keeper.say("key 3", ec)
    keeper.say("apply")
    keeper.wait("ready", set=2)
    digest = os.urandom(32)
    (tmp_path / "sig").write_bytes(keeper.sign(3, ECDSA, digest))
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", ec + ".pub", "-sigfile",
            str(tmp_path / "sig"), data=digest)
    recover = bare_rsa(rsa)
    raw = pss_block(rsa, recover, digest)
    assert openssl(*recover, data=keeper.sign(0, RSA_RAW, raw)) == raw
    info = DIGEST_INFO + digest
    padded = openssl(*recover, data=keeper.sign(0, RSA_PKCS1, info))
    assert padded == b"\0\1" + b"\xff" * (256 - 3 - len(info)) + b"\0" + info
    for index, op, data in ((0, ECDSA, digest), (3, RSA_RAW, raw), (1, RSA_RAW, raw),
                            (0, RSA_RAW, raw[1:]), (900, RSA_RAW, raw),
                            (0, RSA_RAW, b"\0" + os.urandom(254) + b"\xbc"),
                            (0, RSA_PKCS1, b"message"), (3, RSA_PKCS1, info),
                            (3, ECDSA, bytes(65))):
        assert keeper.sign(index, op, data) is None
    assert keeper.stats()["signs"] == 3
    keeper.say("key 0 -")
    keeper.say("apply")
    keeper.wait("ready", set=3)
    assert keeper.sign(0, RSA_RAW, raw) is None and keeper.sign(3, ECDSA, digest)


def test_bad_tls_key_refuses_the_set(keeper, keys, kdc, tmp_path):
    keeper.say("key 0", keys[0])
    keeper.say("apply")
    keeper.wait("ready", set=2)
    (tmp_path / "bad.pem").write_text("nothing")
    keeper.say("key 0", tmp_path / "bad.pem")
    keeper.say("keytab", kdc.keytab("other"))
    keeper.say("apply")
    assert keeper.sign(0, RSA_PKCS1, DIGEST_INFO + bytes(32)) is not None
    assert keeper.step(k.token())["outcome"] == "ok"
    assert not [line for line in keeper.unread if line["what"] == "ready"]
