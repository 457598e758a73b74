"""The list of authorized servers: changes, guards, files of them, many."""

import array
import json
import os
import socket

import pytest

import sanitizers
from conftest import using
from procs import wait_until
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


def test_relays_say_which_list_they_have(lab):
    told = lab.rmsctl_json("servers", "add", "-r", "fci", EXCHANGE)["generation"]
    assert wait_until(lambda: lab.row("relay")["counters"]["table_generation"] == told, 5, 0.02)
    assert "table_generation" not in lab.counters()


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
    def ask(*words):
        with socket.socket(socket.AF_UNIX) as connection:
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


# ---- files of them ------------------------------------------------------------------

HEAD = "subject,role,name,note,expires\n"


def imported(lab, text, *arguments, name="-"):
    return ctl(lab, "servers", "import", *arguments, name, input=text)


def test_a_file_becomes_one_change(lab, tmp_path):
    before = generation(lab)
    text = HEAD + f'{EXCHANGE},exchange,Exchange Servers,"a, b",\r\n' \
        f'{EXCHANGE}1,sharepoint,"Köln ""West""",,2099-01-01\n' \
        'exch01$@LAB.TEST,fci,,"two\nlines",\n'
    ended(imported(lab, text, "--dry-run"), OK, "Would be: 3 added", f"+ {EXCHANGE}: exchange")
    assert generation(lab) == before and not entries(lab)
    path = tmp_path / "our servers.csv"
    path.write_text(text)
    ended(ctl(lab, "servers", "import", str(path)), OK, "3 added, 0 changed", "In force in 1")
    assert generation(lab) == before + 1
    told = [e for e in lab.new("EVENT_LOG") if e["id"] == 1004]
    assert len(told) == 1 and told[0]["accounts_total"] == 3
    assert [(e["name"], e["note"]) for e in entries(lab)] == [
        ("Exchange Servers", "a, b"), ('Köln "West"', ""), ("", "two lines")]
    ended(ctl(lab, "servers", "import", str(path)), OK, "0 added", "3 as they were")
    assert generation(lab) == before + 1


def test_all_faults_at_once_and_nothing_done(lab):
    before = generation(lab)
    done = ended(imported(lab, HEAD + f"{EXCHANGE},exchange,,,\n"
                          "no realm,fci,,,\n"
                          f"{EXCHANGE}2,king,,,\n"
                          f'{EXCHANGE}3,fci,"open,,\n'), REFUSED,
                 "stdin:3: \"no realm\" has no realm", "stdin:4: there is no role",
                 "stdin:5: the quote of a field is never closed", "nothing was changed")
    assert "stdin:2:" not in done.stderr
    ended(imported(lab, HEAD + f"{EXCHANGE},exchange,,,\n{EXCHANGE},fci,,,\n"), REFUSED,
          "stdin:3: the subject is that of line 2")
    many = HEAD + "".join(f"x{i},fci,,,\n" for i in range(500))
    told = ended(imported(lab, many), REFUSED, "stdin:2: ", "500 of the entries").stderr
    assert 50 < len(told.splitlines()) < 501
    ended(ctl(lab, "servers", "import", "/nonexistent/file"), USAGE, "No such file")
    ended(imported(lab, "subject;role\n"), REFUSED, "stdin:1: ", "semicolons")
    assert generation(lab) == before and not entries(lab)


def test_a_file_meets_a_list(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", "--note", "old", EXCHANGE), OK)
    ended(ctl(lab, "servers", "add", "-r", "fci", f"{EXCHANGE}1"), OK)
    number = entries(lab)[0]["entry"]
    text = HEAD + f"{EXCHANGE},sharepoint,,,\n{EXCHANGE}2,fci,,,\n"
    ended(imported(lab, text), REFUSED, f"stdin:2: {EXCHANGE} is entry {number} already, with "
          "another role", "--update")
    ended(imported(lab, text, "--update"), OK, "1 added, 1 changed, 0 removed")
    assert subjects(lab) == {EXCHANGE: "sharepoint", f"{EXCHANGE}1": "fci", f"{EXCHANGE}2": "fci"}
    assert entries(lab)[0]["entry"] == number
    ended(imported(lab, text, "--replace", "--dry-run"), OK, f"- {EXCHANGE}1: fci",
          "Would be: 0 added, 0 changed, 1 removed")
    ended(imported(lab, text, "--replace"), OK, "1 removed, 2 as they were")
    assert subjects(lab) == {EXCHANGE: "sharepoint", f"{EXCHANGE}2": "fci"}


def test_guards_of_a_file(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", EXCHANGE), OK)
    before = generation(lab)
    # by nothing at all, and by what nobody is let in by
    for text in (HEAD, HEAD + f"{EXCHANGE}1,fci,,,2001-01-01\n"):
        ended(imported(lab, text, "--replace"), REFUSED, "no server could use", "--force")
        assert "no server could use" in lab.event(2120)["reason"]
    wide = HEAD + f"{USERS},exchange,,,\nS-1-0x1-0,exchange,,,\n"
    ended(imported(lab, wide), REFUSED, "is Domain Users:", "and 1 more like it", "--force")
    ended(imported(lab, wide, "--dry-run"), OK, "Would need --force: ")
    assert generation(lab) == before and subjects(lab) == {EXCHANGE: "fci"}
    assert not [e for e in lab.new("EVENT_LOG") if e["id"] == 2121]
    ended(imported(lab, wide, "--force"), OK, "Forced: ")
    assert lab.event(2121)["account"] == USERS
    ended(imported(lab, wide), OK, "2 as they were")
    ended(imported(lab, HEAD, "--replace", "--force"), OK, "0 servers on the list")
    assert lab.event(2003)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_export_is_what_import_takes(lab, form):
    text = HEAD + f'{EXCHANGE},exchange,"Exchange, all ""of"" them", blanks ,\n' \
        f"S-1-0x5-32-555,sharepoint,Köln,=1+1,2099-01-01T12:34:56Z\n" \
        'CONTOSO\\FS01$,fci,,,2001-01-01\n"cert:CN=exch01,O=Contoso",fci,,,\n'
    ended(imported(lab, text), OK, "4 added", "1 of the file's entries have expired")
    before = [{k: v for k, v in e.items() if k not in ("entry", "added")} for e in entries(lab)]
    exported = ctl(lab, "servers", "export", "--format", form)
    assert exported.returncode == OK
    if form == "csv":
        assert exported.stdout.count("\n") == 5
    else:
        assert len(json.loads(exported.stdout)) == 4
    ended(imported(lab, HEAD, "--replace", "--force"), OK)
    ended(imported(lab, exported.stdout), OK, "4 added")
    after = [{k: v for k, v in e.items() if k not in ("entry", "added")} for e in entries(lab)]
    assert after == before
    assert ctl(lab, "servers", "export", "--format", form).stdout == exported.stdout


def test_a_hundred_thousand(lab, tmp_path):
    """Seconds on a quiet machine; here it matters that it all comes to an end
    and is in force as one."""
    # With TSan the import is over the 30 seconds that rmsctl waits.
    count = 10_000 if sanitizers.mode() == "tsan" else 100_000
    path = tmp_path / "many.csv"
    path.write_text(HEAD + "".join(f"{DOMAIN}-{10000 + i},{('fci', 'sharepoint')[i % 2]},"
                                   f"Server {i},made for a test,\n" for i in range(count)))
    ended(ctl(lab, "servers", "import", str(path)), OK, f"{count} added")
    assert lab.status()["table"]["entries"] == count
    listed = ended(ctl(lab, "servers", "list"), OK).stdout
    assert f"{DOMAIN}-10000 " in listed and f"{DOMAIN}-{10000 + count - 1} " in listed
    told = json.loads(ended(ctl(lab, "--json", "servers", "list"), OK).stdout)
    assert len(told["servers"]) == count
    ended(ctl(lab, "servers", "import", "--replace", "-",
              input=ctl(lab, "servers", "export").stdout), OK, f"{count} as they were")
    ended(imported(lab, HEAD + f"{EXCHANGE},fci,,,\n", "--replace"), OK, f"{count} removed")


def test_a_descriptor_only_where_it_belongs(lab, tmp_path):
    def ask(words, descriptors):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(lab.env["RMSCTL_SOCKET"])
            body = b"".join(w.encode() + b"\0" for w in words)
            connection.sendmsg([len(body).to_bytes(4, "little") + body],
                               [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                 array.array("i", descriptors))] if descriptors else [])
            try:
                with connection.makefile("rb") as file:
                    size = file.read(4)
                    return json.loads(file.read(int.from_bytes(size, "little"))) if size else None
            except ConnectionResetError:
                return None
    def held():
        return len(os.listdir(f"/proc/{lab.status()['pid']}/fd"))
    path = tmp_path / "file"
    path.write_text("x" * 100)
    words = ("servers import", "mode=add", "from=x")
    with open(path, "rb") as file:
        before, number = held(), file.fileno()
        for _ in range(10):
            assert "not sealed" in ask(words, [number])["error"]
            assert ask(words, [])["code"] == "EPROTO"
            assert ask(words[:1], [number])["code"] == "EINVAL"
            assert ask(("status",), [number])["code"] == "EPROTO"
            assert ask(words, [number, number]) is None  # cut off
    # connections of before may have been counted, but not ten of them
    assert wait_until(lambda: held() < before + 5, 5, 0.02)
