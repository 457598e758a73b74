"""rms-keeper with tickets whose PAC no KDC here would make: which SIDs it takes,
and why it takes none.  Samba's NDR library says what is in a PAC."""

import os
import random

import pytest

import keeper_peers as k
import negotiate
import pac_peers as p
from labctl import build_dir
from relay_peers import ask, field, ticket

# shm/identity.h: why there are no SIDs
NONE_GIVEN, SIGNATURE, MALFORMED, TOO_MANY = range(4)
DOMAIN = "S-1-5-21-1-2-3"
CONFIG = f"""[libdefaults]
 default_realm = {p.REALM}
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
[domain_realm]
 .contoso.test = {p.REALM}
"""


@pytest.fixture(scope="module")
def forger(tmp_path_factory):
    return p.Forger(tmp_path_factory.mktemp("forged"))


@pytest.fixture(scope="module")
def _keeper(forger):
    config = f"{forger.dir}/krb5.conf"
    with open(config, "w", encoding="ascii") as file:
        file.write(CONFIG)
    keeper = k.Keeper(build_dir(), f"{forger.dir}/keeper.log")
    keeper.config = config
    keeper.start(config, forger.keytab)
    yield keeper
    keeper.stop()
    with open(keeper.log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    assert "Sanitizer" not in text and "BUG" not in text, text


@pytest.fixture
def accept(_keeper, forger):
    """accept(logon_info, …): what the keeper says to such a ticket."""
    os.environ["KRB5_CONFIG"] = _keeper.config

    def run(*arguments, **options):
        cache = forger.cache(*arguments, **options)
        return _keeper.step(negotiate.Negotiate(p.SERVICE.partition("/")[2], cache).token())
    return run


def has(answer, sids):
    assert answer["outcome"] == "ok", answer
    assert answer["principal"] == f"{p.CLIENT}@{p.REALM}"
    assert (answer["sids"], answer["lack"]) == (sids, NONE_GIVEN)
    assert answer["nsids"] == len(sids)


def has_none(answer, lack):
    assert answer["outcome"] == "ok", answer
    assert answer["principal"] == f"{p.CLIENT}@{p.REALM}"
    assert (answer["lack"], answer["sids"]) == (lack, [])


# --- what is taken ---------------------------------------------------------


def test_every_list(accept):
    """Samba's KDC never gives resource groups; Windows does."""
    logon = p.make(groups=[(515, p.ON), (1200, p.ON), (1201, p.DENY_ONLY), (1202, 0)],
                   extra=[("S-1-18-1", p.ON), ("S-1-5-21-9-8-7-512", p.ON)],
                   resource=[(1300, 0x20000007)], resource_domain="S-1-5-21-4-5-6")
    has(accept(logon), [f"user {DOMAIN}-1103", f"primary-group {DOMAIN}-515",
                        f"group {DOMAIN}-1200", "extra S-1-18-1", "extra S-1-5-21-9-8-7-512",
                        "resource S-1-5-21-4-5-6-1300"])


def test_unflagged_lists_do_not_count(accept):
    logon = p.make(extra=[("S-1-5-21-9-8-7-512", p.ON)], resource=[(1300, p.ON)], flags=0)
    has(accept(logon), [f"user {DOMAIN}-1103", f"primary-group {DOMAIN}-515"])


@pytest.mark.parametrize("seed", range(40))
def test_as_samba_reads_it(accept, seed):
    """Lists of any kind and size, names of any length."""
    rand = random.Random(seed)
    attributes = lambda: rand.choice([7, 7, 7, 7, 4, 0x20000007, 0x17, 0x10, 3, 0])
    rids = lambda: [(rand.choice([515, 1103, rand.randrange(1, 1 << 32), rand.randrange(2000)]),
                     attributes()) for _ in range(rand.choice([0, 1, 2, 7, 60, 400]))]
    foreign = lambda: "S-1-" + "-".join(str(rand.randrange(1 << 32))
                                        for _ in range(rand.randrange(2, 17)))
    extra = [(rand.choice([foreign(), f"{DOMAIN}-515", "S-1-18-1"]), attributes())
             for _ in range(rand.choice([0, 1, 3, 40, 300]))]
    logon = p.make(groups=rids(), extra=extra, resource=rids(),
                   flags=rand.choice([None, None, rand.randrange(1 << 32)]),
                   name="é" * rand.randrange(12), domain=rand.choice([DOMAIN, "S-1-5-32"]),
                   resource_domain=rand.choice([DOMAIN, foreign().rpartition("-")[0] + "-1"]))
    has(accept(logon), p.expected(logon))


def test_as_many_as_there_may_be(accept):
    extra = [(f"S-1-5-21-7-7-7-{n}", p.ON) for n in range(1198)]
    answer = accept(p.make(extra=extra))
    has(answer, [f"user {DOMAIN}-1103", f"primary-group {DOMAIN}-515"]
        + [f"extra {sid}" for sid, _ in extra])


def test_the_largest_ticket_through_the_connector(private_lab, forger):
    """As many SIDs as there may be, in a token of 65 kB: the last one of them
    lets its account in."""
    lab = private_lab(workers=1)
    with open(forger.keytab, "rb") as file:
        more = file.read()[2:]
    with open(lab.env["KEYTAB"], "ab") as file:
        file.write(more)
    lab.event(1105, seconds=10)
    extra = [(f"S-1-5-21-7-7-7-1000000-1000000-1000000-{n}", p.ON) for n in range(1198)]
    lab.rmsctl("servers", "add", "--role", "fci", extra[-1][0])
    os.environ["KRB5_CONFIG"] = f"{forger.dir}/krb5.conf"
    with open(os.environ["KRB5_CONFIG"], "w", encoding="ascii") as file:
        file.write(CONFIG)
    data = negotiate.Negotiate(p.SERVICE.partition("/")[2],
                               forger.cache(p.make(extra=extra))).token()
    assert 62_000 < len(data) < 66_560, len(data)
    with lab.client() as client:
        reply = ask(client, field(data))
        assert reply.status == 200, lab.new("EVENT_LOG")[-1]
        line = lab.access(reply)
        assert (line["role"], line["account"]) == ("fci", f"{p.CLIENT}@{p.REALM}")
    # The next one is somebody else.
    os.environ["KRB5_CONFIG"] = lab.env["KRB5_CONFIG"]
    with lab.client() as client:
        assert ask(client, ticket(lab, "STRANGER")).status == 403


# --- what gives no right -----------------------------------------------------


def test_too_many(accept):
    has_none(accept(p.make(groups=[(2000 + n, p.ON) for n in range(1199)])), TOO_MANY)


def test_no_pac(accept):
    has_none(accept(None, with_pac=False), NONE_GIVEN)


def test_pac_without_logon_information(accept):
    has_none(accept(None), NONE_GIVEN)


def test_wrong_signature(accept):
    """The library lets the client in all the same."""
    has_none(accept(p.make(groups=[(512, p.ON)]), good=False), SIGNATURE)


def test_pac_of_somebody_else(accept):
    has_none(accept(p.make(groups=[(512, p.ON)]), pac_client="Administrator"), SIGNATURE)


@pytest.mark.parametrize("spoil", [
    lambda b: b[:-8],
    lambda b: b[:15],
    lambda b: b"",
    lambda b: b"\2" + b[1:],
    lambda b: b[:16] + bytes(4) + b[20:],
    lambda b: bytes(len(b)),
    lambda b: b.replace(b"\1\5\0\0\0\0\0\5", b"\1\0\0\0\0\0\0\5"),
], ids=["cut", "head", "empty", "version", "null", "zero", "sid"])
def test_malformed(accept, spoil):
    """Signed as it should be, and no logon information."""
    good = p.make(groups=[(512, p.ON)], domain="S-1-5-21-1-2-3-4")
    assert accept(good)["nsids"] == 3
    has_none(accept(spoil(good)), MALFORMED)


@pytest.mark.parametrize("garbage", [b"", b"\0", bytes(8), b"\xff" * 200,
                                     bytes.fromhex("01000000000000000100000000100000"
                                                   "1800000000000000")],
                         ids=["none", "byte", "no-buffers", "ones", "outside"])
def test_bytes_that_are_no_pac(accept, garbage):
    answer = accept(None, garbage=garbage)
    assert (answer["outcome"], answer["cause"]) == ("failed", "pac"), answer
    assert answer["claimed"] == f"{p.CLIENT}@{p.REALM}" and not answer.get("sids")


def test_the_log_says_why(accept, _keeper):
    """But not with every request."""
    for _ in range(3):
        accept(p.make(), good=False)
    with open(_keeper.log, encoding="utf-8") as file:
        said = [line for line in file if "is let in without groups" in line]
    assert said and f"{p.CLIENT}@{p.REALM}" in said[0]
    assert len(said) <= 2
