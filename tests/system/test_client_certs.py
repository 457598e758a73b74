"""Clients that are known by their certificate: who they are, who they are not,
and what a reload does to connections that are open."""

import itertools
import ssl
import time

import pytest

import soap
from cert_peers import Authority, context
from conftest import using
from listener_peers import listener
from procs import wait_until
from relay_peers import NAME, ask, challenge, own_error, ticket

BODY = soap.acquire_license()
EXCH = "exch01$@LAB.TEST"
# The same event from one address would be held back for a minute.
ADDRESSES = (f"127.0.3.{n}" for n in itertools.count(1))
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class World:
    """A lab, two authorities, one below the first, and their certificates."""

    def __init__(self, lab):
        self.lab = lab
        self.root = Authority(lab.path("pki-root"), "Servers Root")
        self.sub = Authority(lab.path("pki-sub"), "Servers Issuing", by=self.root)
        self.other = Authority(lab.path("pki-other"), "Other Root")
        self.good = self.root.issue("good", "/O=Contoso/CN=exch09")
        lab.rmsctl("servers", "add", "--role", "exchange", "cert:CN=exch09,O=Contoso")

    def write(self, name, *texts):
        path = self.lab.path(name)
        with open(path, "w", encoding="ascii") as file:
            file.write("".join(texts))
        return path

    def client(self, it, pem, version=None, **options):
        tls = context(self.lab.env["CONNECTOR_CA"], pem)
        if version:
            tls.minimum_version = tls.maximum_version = version
        options.setdefault("source", next(ADDRESSES))
        return it.client(context=tls, **options)

    def let_in(self, it, pem, **options):
        with self.client(it, pem, **options) as client:
            reply = ask(client)
            assert reply.status == 200, reply.body
            return self.lab.access(reply)

    def shut_out(self, it, pem, cause, event=2000, **options):
        """The handshake fails, and an event says why; the event."""
        with self.client(it, pem, **options) as client:
            with pytest.raises((ssl.SSLError, ConnectionError, soap.BadReply)):
                ask(client)
        told = self.lab.event(event, address=client.source)
        assert f"({cause})" in told["reason"], told
        return told


@pytest.fixture(scope="module")
def _world(module_lab):
    return World(module_lab())


@pytest.fixture
def world(_world):
    for lab in using(_world.lab):
        assert lab
        yield _world


def asking(world, mode="ask", **directives):
    directives.setdefault("client_ca", world.root.pem)
    return listener(world.lab, "certs", tls=True, client_certificate=mode, **directives)


# ---- who is let in -----------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["ask", "require"])
def test_certificate_stands_for_the_server(world, mode, version):
    lab = world.lab
    with asking(world, mode) as it, world.client(it, world.good, version) as client:
        reply = ask(client)
        line = lab.access(reply)
        assert reply.status == 200 and not reply.all("WWW-Authenticate")
        assert (line["mech"], line["account"]) == ("cert", "CN=exch09,O=Contoso")
        assert line["role"] == "exchange" and line["bound"] is True
        assert ask(client).status == 200
        # What it brings decides alone; then the certificate stands again.
        reply = ask(client, ticket(lab, "SHAREPOINT"))
        assert reply.status == 200 and lab.access(reply)["role"] == "sharepoint"
        own_error(ask(client, ("Authorization", "Negotiate bm9uc2Vuc2U=")), 401, "AUTH_FAILED")
        assert lab.access(ask(client))["mech"] == "cert"


def test_taken_off_the_list(world):
    """Refused on its next request, as any other."""
    lab, subject = world.lab, "cert:CN=exch09,O=Contoso"
    with asking(world) as it, world.client(it, world.good) as client:
        assert ask(client).status == 200
        lab.rmsctl("servers", "remove", subject)
        try:
            own_error(ask(client), 403, "AUTH_DENIED")
            told = lab.event(2001, account="CN=exch09,O=Contoso")
            assert f"'{subject}'" in told["reason"]
        finally:
            lab.rmsctl("servers", "add", "--role", "exchange", subject)
        assert ask(client).status == 200


def test_without_a_certificate(world):
    with asking(world) as it:
        with it.server() as server:
            assert server.call(NAME, BODY).status == 200 and server.challenges == 1
            assert world.lab.access(ask(server))["account"] == EXCH
        it.change(client_certificate="require")
        told = world.shut_out(it, None, "cert-missing")
        assert "client_certificate = ask" in told["reason"]
    # And where nobody is asked, a certificate is nobody's.
    with soap.Client(world.lab.url(), context=context(world.lab.env["CONNECTOR_CA"],
                                                      world.good)) as client:
        challenge(ask(client))


def test_issuer_in_between(world):
    """Sent by the client, or trusted by itself without the root."""
    pem = world.sub.issue("below", "/O=Contoso/CN=exch09")
    with asking(world) as it:
        assert world.let_in(it, pem)["account"] == "CN=exch09,O=Contoso"
        it.change(client_ca=world.sub.pem)
        assert world.let_in(it, pem)["mech"] == "cert"
        world.shut_out(it, world.good, "cert-unknown-ca")


@pytest.mark.parametrize("version", VERSIONS)
def test_required_on_open_connections(world, version):
    """A reload that requires one holds for who is connected without: by an
    identity that the connection has, by a ticket, and for the first request."""
    lab = world.lab
    with asking(world) as it, world.client(it, None, version) as known, \
            world.client(it, None, version) as new, world.client(it, None, version) as third, \
            world.client(it, world.good, version) as shown:
        assert ask(known, ticket(lab)).status == 200 and ask(known).status == 200
        for client in (new, third):
            challenge(ask(client))
        assert ask(shown).status == 200
        it.change(client_certificate="require")
        for client, fields in ((known, ()), (new, (ticket(lab),)), (third, ())):
            reply = ask(client, *fields)
            own_error(reply, 401, "AUTH_FAILED")
            # Another try needs another handshake.
            assert reply.get("Connection") == "close"
            assert "(cert-missing)" in lab.event(2000, address=client.source)["reason"]
        assert ask(shown).status == 200
        assert ask(shown, ticket(lab, "SHAREPOINT")).status == 200
        # One who is in between shows its own, and so it may be there.
        challenge(ask(shown, ("Via", "1.1 proxy")))
        assert ask(shown, ("Via", "1.1 proxy"), ticket(lab)).status == 200
    assert lab.cloud()["total"] == 6


def test_required_and_revoked_while_connected(world):
    """Where one is required, nothing else will do for one that is revoked."""
    lab = world.lab
    pem = world.root.issue("required", "/O=Contoso/CN=exch09")
    path = world.write("required.pem", world.root.crl())
    with asking(world, "require", client_crl=path) as it, world.client(it, pem) as client, \
            world.client(it, pem) as second, world.client(it, world.good) as other:
        assert ask(client).status == 200 and ask(other).status == 200
        assert ask(second, ticket(lab)).status == 200
        world.root.revoke(pem)
        world.write("required.pem", world.root.crl())
        it.change()
        for one in (client, second):
            own_error(ask(one, ticket(lab)), 401, "AUTH_FAILED")
            assert "(cert-revoked)" in lab.event(2000, address=one.source)["reason"]
        assert ask(other).status == 200


def test_required_and_names_nobody(world):
    """The handshake takes it, so does a request that says who it is."""
    pem = world.root.issue("nobody", "/", raw=True)
    with asking(world, "require") as it, world.client(it, pem) as client:
        own_error(ask(client), 401, "AUTH_FAILED")
        assert "(cert-name)" in world.lab.event(2000, address=client.source)["reason"]
        assert ask(client, ticket(world.lab)).status == 200


# ---- who is not ------------------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
def test_certificates_that_are_refused(world, version):
    pems = {
        "cert-unknown-ca": world.other.issue(f"o{version}", "/O=Contoso/CN=exch09"),
        "cert-expired": world.root.issue(f"e{version}", "/O=Contoso/CN=exch09", end=-60),
        "cert-purpose": world.root.issue(f"s{version}", "/O=Contoso/CN=exch09", "server"),
    }
    with asking(world) as it, it.server() as other:
        assert other.call(NAME, BODY).status == 200
        for cause, pem in pems.items():
            told = world.shut_out(it, pem, cause, version=version)
            assert "CN=exch09,O=Contoso" in told["reason"]
        later = world.root.issue(f"l{version}", "/O=Contoso/CN=exch09", start=3600)
        world.shut_out(it, later, "cert-expired", version=version)
        assert ask(other).status == 200
        assert world.let_in(it, world.good, version=version)["mech"] == "cert"
    assert world.lab.cloud()["total"] == 3


@pytest.mark.parametrize("subject, entry", [
    ("/O=Contoso/CN=Müller \\+ Söhne, \"Mail\"", True),
    ("/O=Contoso/CN= #leading", True),
    ("/O=Contoso+OU=x/CN=many+UID=7", True),
    ("/CN=" + "/CN=".join("x" * 60 for _ in range(7)), True),
    ("/CN=" + "/CN=".join("x" * 60 for _ in range(9)), False),
    ("/", False),
], ids=["special", "space", "multi", "long", "longer", "empty"])
def test_subjects(world, subject, entry):
    """Each is written in one way only, the one that an entry has."""
    pem = world.root.issue(f"subject{abs(hash(subject))}", subject, raw=True)
    with asking(world) as it, world.client(it, pem) as client:
        reply = ask(client)
        if not entry:
            own_error(reply, 401, "AUTH_FAILED")
            assert "(cert-name)" in world.lab.event(2000, address=client.source)["reason"]
            assert ask(client, ticket(world.lab)).status == 200
            return
        own_error(reply, 403, "AUTH_DENIED")
        name = world.lab.access(reply)["account"]
        assert name == world.root.subject(pem) and name.isascii()
        world.lab.rmsctl("servers", "add", "--role", "sharepoint", "cert:" + name)
        assert ask(client).status == 200
        # Not the look-alike: what separates within a value is escaped.
        world.lab.rmsctl("servers", "remove", "cert:" + name)


def test_names_that_only_look_alike(world):
    """One attribute whose value holds separators is not several attributes,
    and a certificate is no Kerberos account of that name."""
    lab = world.lab
    liar = world.root.issue("liar", "/CN=exch09,O=Contoso", raw=True)
    kerberos = world.root.issue("krb", f"/CN={EXCH}", raw=True)
    case = world.root.issue("case", "/O=Contoso/CN=EXCH09", raw=True)
    order = world.root.issue("order", "/CN=exch09/O=Contoso", raw=True)
    with asking(world) as it:
        for pem in (liar, kerberos, case, order):
            with world.client(it, pem) as client:
                own_error(ask(client), 403, "AUTH_DENIED")
    assert lab.cloud()["total"] == 0


def test_explain_of_a_request_under_a_long_name(world):
    """Notes of requests cut it, and two may be the same up to there."""
    lab = world.lab
    names = [f"CN={'c' * 50},OU={'u' * 40},O={o}" for o in ("One", "Two")]
    pems = [world.root.issue(f"long-{o}", f"/O={o}/OU={'u' * 40}/CN={'c' * 50}")
            for o in ("One", "Two")]
    lab.rmsctl("servers", "add", "--role", "fci", "cert:" + names[0])
    replies = []
    with asking(world) as it:
        for pem in pems:
            with world.client(it, pem) as client:
                replies.append(ask(client))
    assert [r.status for r in replies] == [200, 403]
    for name, reply, verdict in zip(names, replies, ("allow", "no_match")):
        told = lab.rmsctl_json("explain", reply.get("X-RMS-Request-Id"))
        assert (told["account"], told["verdict"], told["now"]) == (name, verdict, None)
        assert (told["seen"]["account"], told["seen"]["mech"]) == (name, "cert")
        [request] = told["requests"]
        assert request["account"] == name[:95] + "..." and request["account_cut"]
        # Those of the other are not its own.
        [request] = lab.rmsctl_json("explain", name)["requests"]
        assert request["request_id"] == reply.get("X-RMS-Request-Id")
    lab.rmsctl("servers", "remove", "cert:" + names[0])


def test_two_issuers_of_one_name(world):
    """An entry may name the issuer too."""
    lab = world.lab
    ours, theirs = (a.issue("twin", "/CN=twin") for a in (world.root, world.other))
    both = "".join(open(a.pem, encoding="ascii").read() for a in (world.root, world.other))
    lab.rmsctl("servers", "add", "--role", "fci", "cert:<I>CN=Servers Root<S>CN=twin")
    try:
        with asking(world, client_ca=world.write("both.pem", both)) as it:
            assert world.let_in(it, ours)["role"] == "fci"
            with world.client(it, theirs) as client:
                own_error(ask(client), 403, "AUTH_DENIED")
    finally:
        lab.rmsctl("servers", "remove", "cert:<I>CN=Servers Root<S>CN=twin")


@pytest.mark.parametrize("text, says", [
    ("cert:CN=a, O=b", "RFC 4514"), ("cert:/CN=a", "RFC2253"), ("cert:exch01", "RFC2253"),
    ("cert:CN=Müller", "beyond ASCII"), ("cert:CN=a;O=b", "RFC 4514"),
    ("cert:<I>CN=a", "names an issuer and nobody"), ("cert:<I>CN=a<S>", "RFC2253")])
def test_entries_that_could_match_nobody(world, text, says):
    result = world.lab.rmsctl("servers", "add", "--role", "fci", text, check=False)
    assert result.returncode != 0 and says in result.stderr, result.stderr


def test_proxy_with_a_certificate(world):
    """It has shown its own certificate, not that of who asks through it."""
    lab = world.lab
    with asking(world) as it, world.client(it, world.good) as proxy:
        challenge(ask(proxy, ("X-Forwarded-For", "10.0.0.1")))
        reply = ask(proxy, ("X-Forwarded-For", "10.0.0.1"), ticket(lab, "SHAREPOINT"))
        assert reply.status == 200 and lab.access(reply)["role"] == "sharepoint"
        challenge(ask(proxy, ("X-Forwarded-For", "10.0.0.2")))
        challenge(ask(proxy))  # nor when it forgets to say so
    with asking(world) as it, world.client(it, world.good) as proxy:
        assert ask(proxy).status == 200
        challenge(ask(proxy, ("Via", "1.1 late")))
        challenge(ask(proxy))


# ---- revocation ---------------------------------------------------------------------------

def test_revoked_while_connected(world):
    """A reload with a new list reaches open connections and stops sessions."""
    lab = world.lab
    pem = world.root.issue("leaver", "/O=Contoso/CN=exch09")
    path = world.write("list.pem", world.root.crl())
    with asking(world, client_crl=path) as it, \
            world.client(it, pem, ssl.TLSVersion.TLSv1_2) as client, \
            world.client(it, world.good) as other, it.server() as kerberos:
        assert ask(client).status == 200 and ask(other).status == 200
        assert kerberos.call(NAME, BODY).status == 200
        session, tls = client.sock.session, client.context
        world.root.revoke(pem)
        world.write("list.pem", world.root.crl())
        assert ask(client).status == 200  # not yet in force
        it.change()
        own_error(ask(client), 401, "AUTH_FAILED")
        assert "(cert-revoked)" in lab.event(2000, address=client.source)["reason"]
        # The same connection may still prove itself otherwise.
        assert ask(client, ticket(lab)).status == 200
        assert ask(other).status == 200 and ask(kerberos).status == 200
        world.shut_out(it, pem, "cert-revoked")
        with it.client(context=tls, session=session) as again:
            with pytest.raises((ssl.SSLError, ConnectionError, soap.BadReply)):
                ask(again)


@pytest.mark.parametrize("version", VERSIONS)
def test_session_is_not_resumed(world, version):
    with asking(world) as it, world.client(it, world.good, version) as client:
        assert ask(client).status == 200
        session, tls = client.sock.session, client.context
        with it.client(context=tls, session=session if session and session.id else None) as again:
            assert ask(again).status == 200
            assert not again.sock.session_reused
        assert session is None or not session.has_ticket


def test_revoked_issuer(world):
    sub = Authority(world.lab.path("pki-revoked"), "Leaving Issuer", by=world.root)
    pem = sub.issue("below", "/O=Contoso/CN=exch09")
    lists = lambda: world.write("lists.pem", world.root.crl(), sub.crl())
    with asking(world, client_crl=lists()) as it:
        assert world.let_in(it, pem)["mech"] == "cert"
        world.root.revoke(sub.pem)
        lists()
        it.change()
        told = world.shut_out(it, pem, "cert-revoked")
        assert "CN=Leaving Issuer" in told["reason"]


def test_list_that_is_out_of_date(world):
    """Nobody who depends on it is let in; the rest goes on; both are told."""
    lab = world.lab
    path = world.write("old.pem", world.root.crl(until=-60, start=-7200))
    with asking(world, client_crl=path) as it, it.server() as other:
        assert "out of date" in lab.event(2140)["reason"]
        assert other.call(NAME, BODY).status == 200
        told = world.shut_out(it, world.good, "cert-crl", event=2141)
        assert "CRL has expired" in told["reason"] and "CN=Servers Root" in told["reason"]
        assert ask(other).status == 200
        world.write("old.pem", world.root.crl())
        it.change()
        assert world.let_in(it, world.good)["mech"] == "cert"


def test_other_list_that_is_out_of_date(world):
    """The list of an issuer that has nothing to do with it, and one that a newer
    one of the same issuer replaces: a certificate is verified once."""
    lab = world.lab
    lists = (world.other.crl(until=-60, start=-7200), world.root.crl(until=-60, start=-7200),
             world.root.crl())
    both = "".join(open(a.pem, encoding="ascii").read() for a in (world.root, world.other))
    with asking(world, client_ca=world.write("ca2.pem", both),
                client_crl=world.write("old2.pem", *lists)) as it, \
            world.client(it, world.good) as client:
        before = lab.counters()
        for _ in range(3):
            assert ask(client).status == 200
        after = lab.counters()
        assert after["authz_allowed"] == before["authz_allowed"] + 3
        assert after["auth_ok"] == before["auth_ok"] + 1


def test_list_and_certificate_that_end_while_connected(world):
    lab = world.lab
    path = world.write("short.pem", world.root.crl(until=4))
    short = world.root.issue("short", "/O=Contoso/CN=exch09", end=4)
    end = time.time() + 5
    with asking(world, client_crl=path) as it, world.client(it, world.good) as listed:
        with listener(lab, "nolist", tls=True, client_certificate="ask",
                      client_ca=world.root.pem) as free, world.client(free, short) as ending:
            assert ask(listed).status == 200 and ask(ending).status == 200
            assert wait_until(lambda: time.time() > end, 10)
            own_error(ask(listed), 401, "AUTH_FAILED")
            assert "(cert-crl)" in lab.event(2141, address=listed.source)["reason"]
            own_error(ask(ending), 401, "AUTH_FAILED")
            assert "(cert-expired)" in lab.event(2000, address=ending.source)["reason"]


def test_issuer_that_is_not_trusted_any_more(world):
    with asking(world) as it, world.client(it, world.good) as client:
        assert ask(client).status == 200
        it.change(client_ca=world.other.pem)
        own_error(ask(client), 401, "AUTH_FAILED")
        it.change(client_ca=world.root.pem)
        assert ask(client).status == 200
        it.change(client_certificate=None, client_ca=None)
        challenge(ask(client))


def test_issuer_without_a_list(world):
    """Is told at the reload, and its certificates are refused."""
    lists = world.write("one.pem", world.root.crl())
    pem = world.sub.issue("unlisted", "/O=Contoso/CN=exch09")
    with asking(world, client_crl=lists) as it:
        told = world.shut_out(it, pem, "cert-crl", event=2141)
        assert "CN=Servers Issuing" in told["reason"]
        both = "".join(open(a.pem, encoding="ascii").read() for a in (world.root, world.other))
        it.change(client_ca=world.write("both2.pem", both))
        assert "no list of /CN=Other Root" in world.lab.event(2140)["reason"]


# ---- bad input ------------------------------------------------------------------------------

@pytest.mark.parametrize("changes, says", [
    ({"client_certificate": "maybe"}, "write off, ask or require"),
    ({"client_ca": None}, "client_certificate needs it"),
    ({"client_ca": "/nonexistent.pem"}, "no such file"),
    ({"client_ca": "{empty}"}, "no certificate in it"),
    ({"client_ca": "{junk}"}, "no certificate in it"),
    ({"client_ca": "{broken}"}, "does not parse"),
    ({"client_ca": "{good}"}, "not one of an issuer (CA:TRUE)"),
    ({"client_ca": "{many}"}, "more certificates"),
    ({"client_crl": "/nonexistent.pem"}, "no such file"),
    ({"client_crl": "{empty}"}, "no revocation list in it"),
    ({"client_crl": "{ca}"}, "no revocation list in it"),
    ({"client_crl": "{namesake}"}, "not signed by the issuer of that name"),
    ({"client_certificate": "off"}, "client_certificate is off"),
    ({"tls": False, "certificate": None, "key": None}, "without TLS"),
])
def test_refused(world, changes, says, tmp_path):
    with open(world.root.pem, encoding="ascii") as file:
        ca = file.read()
    namesake = Authority(tmp_path / "namesake", world.root.name)
    files = {"empty": world.write("c0", ""), "junk": world.write("c1", "junk\n"),
             "broken": world.write("c2", ca.replace("MII", "XXI")), "good": world.good,
             "many": world.write("c3", ca * 101), "ca": world.root.pem,
             "namesake": world.write("c4", namesake.crl())}
    changes = {n: v.format(**files) if isinstance(v, str) else v for n, v in changes.items()}
    with asking(world) as it, world.client(it, world.good) as client:
        assert ask(client).status == 200
        said = it.refused(**changes)
        assert says in said and "rms-connector.conf:" in said, said
        assert ask(client).status == 200
        assert world.let_in(it, world.good)["mech"] == "cert"
