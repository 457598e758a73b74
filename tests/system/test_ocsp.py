"""OCSP responses made by `openssl ocsp`, stapled, and asked for by its client."""

import os
import re
import subprocess
import time

import pytest

from cert_peers import Authority, openssl
from conftest import using
from listener_peers import listener

MONTH = 30 * 86400
DELEGATE = """
[delegate]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = OCSPSigning
"""


class World:
    """A lab, an authority whose certificates listeners have, and responses."""

    def __init__(self, lab, directory):
        self.lab, self.dir = lab, str(directory)
        self.ca = Authority(directory / "ca", "Issuing CA")
        with open(self.ca.config, "a", encoding="ascii") as out:
            out.write(DELEGATE)
        self.one, self.two = (self.pair(n) for n in ("one", "two"))
        self.delegate = self.ca.issue("delegate", "/CN=responder", "delegate", end=MONTH)
        self.stranger = self.ca.issue("stranger", "/CN=stranger", "server", end=MONTH)

    def pair(self, name):
        """(certificate and issuer, key) in files of their own."""
        made = self.ca.issue(name, f"/CN={name}.test", "server", end=MONTH)[:-4]
        with open(made + ".chain", "w", encoding="ascii") as out:
            for path in (made + ".crt", self.ca.pem):
                with open(path, encoding="ascii") as file:
                    out.write(file.read())
        os.chmod(made + ".key", 0o600)
        return made + ".chain", made + ".key"

    def path(self, name):
        return f"{self.dir}/{name}"

    def respond(self, to, pair, *options, signer=None, issuer=None):
        """A response about the certificate, in the file `to` of ours."""
        issuer = issuer or self.ca
        leaf = pair[0].replace(".chain", ".crt")
        signer = signer or (issuer.pem, f"{issuer.dir}/ca.key")
        if not any(o in options for o in ("-ndays", "-nmin")):
            options = (*options, "-nmin", "60")
        openssl("ocsp", "-issuer", issuer.pem, "-cert", leaf, "-no_nonce", "-reqout",
                self.path("request"))
        openssl("ocsp", "-index", f"{issuer.dir}/index.txt", "-CA", issuer.pem, "-rsigner",
                signer[0], "-rkey", signer[1], "-reqin", self.path("request"), "-respout",
                self.path(to + ".new"), *options)
        os.rename(self.path(to + ".new"), self.path(to))
        return self.path(to)

    def write(self, to, data):
        with open(self.path(to), "wb") as out:
            out.write(data)
        return self.path(to)

    def bytes(self, path):
        with open(path, "rb") as file:
            return file.read()

    def listener(self, *responses):
        return listener(self.lab, "stapling", tls=True,
                        certificate=f"{self.one[0]}, {self.two[0]}",
                        key=f"{self.one[1]}, {self.two[1]}",
                        certificate_ocsp=", ".join(responses))

    def status(self, it, *options):
        """Of what a client is given: good, revoked ..., or None without one."""
        done = subprocess.run(
            ["openssl", "s_client", "-status", "-CAfile", self.ca.pem, "-connect",
             f"127.0.0.1:{it.directives['port']}", *options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0 and "Verify return code: 0" in text, text
        if "OCSP response: no response sent" in text:
            return None
        assert "OCSP Response Status: successful" in text, text
        return re.search(r"Cert Status: (\w+)", text).group(1)

    def told(self, *words):
        self.lab.wait_line("EVENT_LOG", lambda e: e["id"] == 2140 and all(
            w in e["reason"] for w in words))
        assert any(p["event"] == 2140 for p in self.lab.status()["problems"])


@pytest.fixture(scope="module")
def _world(module_lab, tmp_path_factory):
    return World(module_lab(workers=1), tmp_path_factory.mktemp("ocsp"))


@pytest.fixture
def world(_world):
    for _ in using(_world.lab):
        yield _world


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_each_certificate_has_its_own(world, flag):
    """In any order; who does not ask gets none."""
    with world.listener(world.respond("two.ocsp", world.two)) as it:
        assert world.status(it, flag, "-servername", "two.test") is None  # first pair: no SAN
        it.change(certificate=f"{world.two[0]},{world.one[0]}",
                  key=f"{world.two[1]},{world.one[1]}")
        assert world.status(it, flag) == "good"
        it.change(certificate=world.one[0], key=world.one[1])
        assert world.status(it, flag) is None
        world.told("two.ocsp", "about none of the listener's certificates")
        it.change(certificate_ocsp=f"{world.path('two.ocsp')}, "
                                   f"{world.respond('one.ocsp', world.one)}")
        assert world.status(it, flag) == "good"


def test_signer_that_the_issuer_lets(world):
    signer = (world.delegate, world.delegate)
    with world.listener(world.respond("delegated", world.one, signer=signer)) as it:
        assert world.status(it) == "good"


def revoked(world):
    pair = world.pair("leaver")
    world.ca.revoke(pair[0].replace(".chain", ".crt"))
    return pair


BAD = {
    "junk": (lambda w: w.write("bad", b"junk"), "no OCSP response in DER"),
    "empty": (lambda w: w.write("bad", b""), "no OCSP response in DER"),
    "more": (lambda w: w.write("bad", w.bytes(w.respond("b", w.one)) + b"x"),
             "no OCSP response in DER"),
    "gone": (lambda w: w.path("gone"), "cannot be read: No such file"),
    "directory": (lambda w: w.dir, "cannot be read"),
    # OCSPResponse with the status internalError (RFC 6960 4.2.1)
    "error": (lambda w: w.write("bad", bytes.fromhex("30030a0102")), "answer is an error"),
    "signature": (lambda w: w.write("bad", flipped(w.bytes(w.respond("b", w.one, "-resp_no_certs")))),
                  "not signed by the certificate's issuer"),
    "signer": (lambda w: w.respond("bad", w.one, signer=(w.stranger, w.stranger)),
               "not signed by the certificate's issuer"),
    "other": (lambda w: w.respond("bad", w.pair("third")), "about none of the listener's"),
    "endless": (lambda w: endless(w), "does not say how long"),
}


def flipped(data):
    """A bit of the signature, which stands at the end."""
    return data[:-10] + bytes([data[-10] ^ 1]) + data[-9:]


def endless(world):
    issuer, leaf = world.ca, world.one[0].replace(".chain", ".crt")
    openssl("ocsp", "-issuer", issuer.pem, "-cert", leaf, "-no_nonce", "-reqout",
            world.path("request"))
    openssl("ocsp", "-index", f"{issuer.dir}/index.txt", "-CA", issuer.pem, "-rsigner",
            issuer.pem, "-rkey", f"{issuer.dir}/ca.key", "-reqin", world.path("request"),
            "-respout", world.path("endless"), "-resp_no_certs")
    return world.path("endless")


@pytest.mark.parametrize("how", BAD)
def test_bad_response_is_told_and_not_stapled(world, how):
    make, says = BAD[how]
    with world.listener(make(world)) as it:
        world.told("rms-connector.conf:", "listener stapling: certificate_ocsp", says)
        assert world.status(it) is None
        it.change(certificate_ocsp=world.respond("good", world.one, "-resp_no_certs"))
        assert world.status(it) == "good"
        assert not any(p["event"] == 2140 for p in world.lab.status()["problems"])


def test_revoked_certificate(world):
    pair = revoked(world)
    with world.listener() as it:
        it.change(certificate=pair[0], key=pair[1],
                  certificate_ocsp=world.respond("revoked", pair))
        world.told("says that the certificate is revoked")
        assert world.status(it) is None


def test_response_that_ends_while_it_is_in_force(world):
    """openssl counts in minutes: a response that has one left."""
    path = world.respond("short", world.one, "-nmin", "1")
    end = time.time() + 60
    with world.listener(path) as it:
        assert world.status(it) == "good"
        world.lab.wait_line("EVENT_LOG", lambda e: e["id"] == 2140 and
                            "have ended and are stapled no more" in e["reason"], 90)
        assert time.time() >= end - 1
        assert world.status(it) is None
        it.change()
        world.told("not stapled, it is out of date")
        assert world.status(it) is None
        # That it is good again on the disk is not enough.
        world.respond("short", world.one)
        assert world.status(it) is None
        it.change()
        assert world.status(it) == "good"
        assert not any(p["event"] == 2140 for p in world.lab.status()["problems"])


def test_response_that_was_bad_is_told_until_a_reload_takes_it(world):
    """Half a file when it was read, whole when the connector looks again."""
    whole = world.bytes(world.respond("half", world.two))
    world.write("half", whole[:100])
    with world.listener(world.respond("short", world.one, "-nmin", "1"),
                        world.path("half")) as it:
        world.told("half", "not stapled, no OCSP response in DER")
        world.write("half", whole)
        # nor is that a certificate was renewed
        with open(world.one[0], "a", encoding="ascii") as file:
            file.write("\n")
        world.lab.wait_line("EVENT_LOG", lambda e: e["id"] == 2140 and
                            "have ended and are stapled no more" in e["reason"], 90)
        world.told(f"{world.one[0]}: the file is not what is in force")
        assert any("1 of the files were not good when they were read" in p["reason"]
                   for p in world.lab.status()["problems"]), world.lab.status()["problems"]
        world.respond("short", world.one)
        it.change()
        assert not any(p["event"] == 2140 for p in world.lab.status()["problems"])


def test_new_response_ends_no_session(world, tmp_path):
    session = str(tmp_path / "session")
    with world.listener(world.respond("again", world.one)) as it:
        assert world.status(it, "-tls1_2", "-sess_out", session) == "good"
        world.respond("again", world.one, "-nmin", "90")
        it.change()
        done = subprocess.run(["openssl", "s_client", "-tls1_2", "-sess_in", session, "-connect",
                               f"127.0.0.1:{it.directives['port']}"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert b"Reused, TLSv1.2" in done.stdout
        pid = world.lab.kill("relay")  # one that starts anew has it
        world.lab.wait_replaced("relay", 0, pid)
        assert world.status(it) == "good"
