"""The list of authorized servers: changes, guards, files of them, many."""

import json

import pytest

from conftest import using
from test_rmsctl import OK, REFUSED, USAGE, ctl, ended

DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"
USERS, COMPUTERS, EXCHANGE = f"{DOMAIN}-513", f"{DOMAIN}-515", f"{DOMAIN}-1119"


@pytest.fixture(scope="module")
def _lab(module_lab):
    return module_lab(workers=1, servers=False)


@pytest.fixture
def lab(_lab):
    """One whose list is empty, before and after."""
    yield from using(_lab)
    for entry in entries(_lab):
        ctl(_lab, "servers", "remove", "--force", str(entry["entry"]))


def entries(lab):
    return lab.rmsctl_json("servers", "list")["servers"]


def subjects(lab):
    return {e["subject"]: e["role"] for e in entries(lab)}


def generation(lab):
    return lab.rmsctl_json("servers", "list")["generation"]


# ---- an entry that changes ----------------------------------------------------

def test_an_entry_is_changed_in_its_place(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", "--note", "first", EXCHANGE), OK)
    before = entries(lab)[0]
    ended(ctl(lab, "servers", "update", EXCHANGE, "--role", "exchange", "--expires",
              "2099-01-01"), OK, "has the role exchange until 2099-01-01", "In force in 1 relay")
    after = entries(lab)[0]
    assert after == dict(before, role="exchange", expires="2099-01-01T00:00:00.000Z")
    assert lab.event(1004)["accounts"][0]["entry"] == before["entry"]
    number = str(before["entry"])
    ended(ctl(lab, "servers", "update", number, "--expires", "never", "--note", ""), OK)
    assert entries(lab)[0] == dict(before, role="exchange", note="")
    told = generation(lab)
    ended(ctl(lab, "servers", "update", number, "-r", "exchange"), OK, "is so already")
    assert generation(lab) == told
    ended(ctl(lab, "servers", "update", number), USAGE, "nothing to change")
    ended(ctl(lab, "servers", "update", number, "-r", "king"), USAGE, "there is no role king")
    ended(ctl(lab, "servers", "update", number, "--expires", "2001-01-01"), USAGE, "in the past")
    ended(ctl(lab, "servers", "update", EXCHANGE[:-1], "-r", "fci"), REFUSED, "is not among")


# ---- guards ---------------------------------------------------------------------

@pytest.mark.parametrize("group, name", [
    ("S-1-1-0", "Everyone"), ("S-1-0x1-0", "Everyone"), ("s-1-5-11", "Authenticated Users"),
    (USERS, "Domain Users"), (COMPUTERS, "Domain Computers"),
    (f"{DOMAIN}-512", "Domain Admins"), (f"{DOMAIN}-519", "Enterprise Admins")])
def test_nobody_makes_everybody_a_super_user_by_mistake(lab, group, name):
    before = generation(lab)
    ended(ctl(lab, "servers", "add", "-r", "exchange", group), REFUSED, f"is {name}:",
          "super user", "--force")
    told = lab.event(2120)
    assert name in told["reason"] and told["author"].startswith("uid ") and \
        told["role"] == "exchange"
    assert generation(lab) == before and not entries(lab)
    ended(ctl(lab, "servers", "add", "-r", "exchange", "--force", group), OK, "Warning: ")
    assert name in lab.event(2121)["reason"]
    assert len(entries(lab)) == 1


def test_nor_by_a_change(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", USERS), OK, "nearly every account")
    assert not [e for e in lab.new("EVENT_LOG") if e["id"] in (2120, 2121)]
    number = str(entries(lab)[0]["entry"])
    ended(ctl(lab, "servers", "update", number, "-r", "exchange"), REFUSED, "is Domain Users:")
    assert lab.event(2120)["entry"] == int(number)
    assert entries(lab)[0]["role"] == "fci"
    ended(ctl(lab, "servers", "update", number, "-r", "exchange", "--force", "--expires",
              "2099-01-01"), OK)
    assert lab.event(2121)["account"] == USERS
    ended(ctl(lab, "servers", "update", number, "--note", "meant so"), OK)
    ended(ctl(lab, "servers", "update", number, "--expires", "never"), REFUSED, "--force")


def test_the_last_one_stays(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", EXCHANGE), OK)
    ended(ctl(lab, "servers", "remove", EXCHANGE), REFUSED, "is the last server", "--force")
    assert "is the last server" in lab.event(2120)["reason"]
    assert subjects(lab) == {EXCHANGE: "fci"}
    ended(ctl(lab, "servers", "remove", "--force", EXCHANGE), OK, "The list is empty now")
    assert lab.event(2121) and lab.event(2003)


# ---- pages ------------------------------------------------------------------------

def test_a_page_says_where_the_next_one_begins(lab):
    from socket import AF_UNIX, socket
    def ask(*words):
        with socket(AF_UNIX) as connection:
            connection.connect(lab.env["RMSCTL_SOCKET"])
            body = b"".join(w.encode() + b"\0" for w in words)
            connection.sendall(len(body).to_bytes(4, "little") + body)
            with connection.makefile("rb") as file:
                return json.loads(file.read(int.from_bytes(file.read(4), "little")))
    for i in range(5):
        ended(ctl(lab, "servers", "add", "-r", "fci", f"{EXCHANGE}{i}"), OK)
    seen, after, turns = [], 0, 0
    while after is not None:
        page = ask("servers list", "limit=2", f"after={after}")
        assert page["total"] == 5 and len(page["servers"]) <= 2
        seen += [s["subject"] for s in page["servers"]]
        after, turns = page["next"], turns + 1
    assert seen == [f"{EXCHANGE}{i}" for i in range(5)] and turns == 3
    assert ask("servers list", "limit=5")["next"] is None
    assert ask("servers list", "limit=x")["code"] == "EINVAL"
