"""Certificates and keys of listeners: taken into force by a reload, together
or not at all, and without a connection that notices."""

import os
import shutil

import pytest

import pki
import soap
from cert_peers import Authority, openssl
from conftest import using
from listener_peers import der, listener
from relay_peers import NAME, ask, ticket
from test_accounts import restart

BODY = soap.acquire_license()
LARGE = soap.acquire_issuance_license(size=300_000)


@pytest.fixture(scope="module")
def _own(module_lab):
    lab = module_lab()
    for name in ("first", "second"):
        pki.make_certificate(lab.path("tls"), name, ["DNS:localhost"])
    return lab


@pytest.fixture
def own(_own):
    yield from using(_own)


def put(lab, stem):
    """The pair that the listener names is this one from now on."""
    for end in ("pem", "key"):
        target = lab.path(f"tls/used.{end}")
        shutil.copy(lab.path(f"tls/{stem}.{end}"), target + ".new")
        os.chmod(target + ".new", 0o600)
        os.rename(target + ".new", target)


def using_files(lab, stem="first"):
    put(lab, stem)
    return listener(lab, "renewing", tls=True, certificate=lab.path("tls/used.pem"),
                    key=lab.path("tls/used.key"))


def shown(it):
    with it.client() as client:
        return client.connect().peer_certificate()


def test_renewal_in_the_middle_of_a_request(own):
    first, second = (der(own.path(f"tls/{n}.pem")) for n in ("first", "second"))
    with using_files(own) as it, it.server() as server, it.server() as quiet:
        assert quiet.call(NAME, BODY).status == 200
        assert server.call(NAME, BODY).status == 200
        server.send(server.head("POST", soap.path_of("AcquireIssuanceLicense"),
                                soap.soap_fields("AcquireIssuanceLicense")
                                + [("Content-Length", str(len(LARGE)))]))
        server.send(LARGE[:100_000])
        put(own, "second")
        assert shown(it) == first  # a file is no reload
        it.change()
        assert shown(it) == second
        server.send(LARGE[100_000:])
        assert server.read().status == 200
        assert server.peer_certificate() == first and ask(quiet).status == 200
        # A process that starts anew has what is in force, not what lies there.
        put(own, "first")
        pid = own.kill("keeper")
        own.wait_replaced("keeper", 0, pid)
        assert shown(it) == second
        with it.server() as new:
            assert new.call(NAME, BODY).status == 200


def wrong_key(lab):
    shutil.copy(lab.path("tls/first.key"), lab.path("tls/used.key"))


def wrong_issuers(lab):
    with open(lab.path("tls/used.pem"), "a", encoding="ascii") as out, \
            open(lab.path("tls/second.pem"), encoding="ascii") as file:
        out.write(file.read())


def key_beside_it(lab):
    """Relays would get it with the certificate."""
    with open(lab.path("tls/used.pem"), "a", encoding="ascii") as out, \
            open(lab.path("tls/used.key"), encoding="ascii") as file:
        out.write(file.read())


def write(name, text):
    def change(lab):
        with open(lab.path("tls/" + name), "w", encoding="ascii") as out:
            out.write(text)
    return change


@pytest.mark.parametrize("spoil, says", [
    (wrong_key, "not the key of this certificate"),
    (wrong_issuers, "has not issued the one before it"),
    (key_beside_it, "a private key stands in it"),
    (write("used.pem", ""), "no certificate in it"),
    (write("used.key", "junk\n"), "no private key that parses"),
    (lambda lab: os.chmod(lab.path("tls/used.key"), 0o644), "chmod 600"),
    (lambda lab: os.unlink(lab.path("tls/used.pem")), "no such file"),
    (lambda lab: openssl("genpkey", "-algorithm", "ED25519", "-out", lab.path("tls/used.key")),
     "neither RSA nor EC"),
], ids=["key", "issuers", "combined", "empty", "junk", "mode", "gone", "kind"])
def test_bad_pair_is_refused_whole(own, spoil, says):
    """With it everything that came in the same file."""
    first = der(own.path("tls/first.pem"))
    with using_files(own) as it, it.server() as server:
        assert server.call(NAME, BODY).status == 200
        put(own, "second")
        spoil(own)
        said = it.refused(channel_binding="require")
        assert says in said and "rms-connector.conf:" in said and "renewing" in said, said
        assert says in own.event(2100)["reason"]
        assert shown(it) == first and ask(server).status == 200
        with it.client() as client:  # nor is a binding required
            assert ask(client, ticket(own)).status == 200
        put(own, "first")


def test_expired_certificate_is_told_and_does_not_stop_the_rest(own, tmp_path):
    ca = Authority(tmp_path / "ca", "Old CA")
    pem = ca.issue("old", "/CN=localhost", "server", start=-7200, end=-3600)
    soon = ca.issue("soon", "/CN=localhost", "server", end=2 * 86400 + 3600)
    with using_files(own) as it, own.server() as other:
        assert other.call(NAME, BODY).status == 200
        for source, says in ((pem, "has expired"), (soon, "expires in 2 days")):
            for end in ("pem", "key"):
                shutil.copy(source[:-3] + ("crt" if end == "pem" else end),
                            own.path(f"tls/used.{end}"))
            it.change()
            assert own.wait_line("EVENT_LOG",
                                 lambda e, s=says: e["id"] == 2140 and s in e["reason"])
            assert any(p["event"] == 2140 for p in own.status()["problems"])
            assert ask(other).status == 200
        put(own, "second")
        it.change()
        assert not any(p["event"] == 2140 for p in own.status()["problems"])
        assert shown(it) == der(own.path("tls/second.pem"))


def test_certificate_that_expires_is_told_at_the_start(private_lab, tmp_path):
    lab = private_lab(workers=1)
    pki.make_certificate(lab.path("tls"), "first", ["DNS:localhost"])
    soon = Authority(tmp_path / "ca", "CA").issue("soon", "/CN=localhost", "server",
                                                  end=2 * 86400 + 3600)
    with using_files(lab):
        shutil.copy(soon[:-3] + "crt", lab.path("tls/used.pem"))
        shutil.copy(soon[:-3] + "key", lab.path("tls/used.key"))
        restart(lab)
        told = lab.wait_line("EVENT_LOG", lambda e: e["id"] == 2140)
        assert "used.pem" in told["reason"] and "expires in 2 days" in told["reason"]
        assert any(p["event"] == 2140 for p in lab.status()["problems"])
