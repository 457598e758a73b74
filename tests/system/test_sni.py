"""Several certificates on one listener: which of them a client is shown, and
that all that hangs on it (binding, sessions, reload) follows it."""

import os
import re
import shutil
import ssl
import subprocess

import pytest

import pki
import soap
from cert_peers import Authority
from conftest import using
from listener_peers import bindings, der, listener
from relay_peers import NAME, ask, challenge, own_error, ticket

BODY = soap.acquire_license()
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
# In the order of the configuration.
STEMS = {"rsa": (["DNS:localhost", "DNS:mail.lab.test"], pki.RSA),
         "curve": (["DNS:localhost", "DNS:mail.lab.test"], pki.EC),
         "wild": (["DNS:*.lab.test"], pki.RSA),
         "other": (["DNS:other.lab.test", "DNS:Upper.Example", "DNS:f*.example"], pki.EC)}


@pytest.fixture(scope="module")
def _own(module_lab):
    lab = module_lab(workers=1)
    for stem, (names, kind) in STEMS.items():
        pki.make_certificate(lab.path("tls"), stem, names, kind)
    return lab


@pytest.fixture
def own(_own):
    yield from using(_own)


def pem(lab, stem):
    return lab.path(f"tls/{stem}.pem")


def files(lab, *stems):
    return {"certificate": ", ".join(pem(lab, s) for s in stems),
            "key": ",".join(lab.path(f"tls/{s}.key") for s in stems)}


def several(lab, name="several", **directives):
    return listener(lab, name, tls=True, **{**files(lab, *STEMS), **directives})


def s_client(it, name, *options):
    """What it prints; name "": no SNI."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{it.directives['port']}",
         *(["-servername", name] if name else ["-noservername"]), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
        check=False)
    return done.stdout.decode(errors="replace")


def shown(lab, it, name, *options):
    """The stem of the certificate that a client was shown; None: none."""
    text = s_client(it, name, *options)
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
    if not found or "Cipher is (NONE)" in text:
        return None
    got = ssl.PEM_cert_to_DER_cert(found.group(0))
    return next(s for s in STEMS if der(pem(lab, s)) == got)


def context(lab, version=None, certificate=None):
    tls = ssl.create_default_context(cafile=lab.env["CONNECTOR_CA"])
    if version:
        tls.minimum_version = tls.maximum_version = version
    if certificate:
        tls.load_cert_chain(certificate)
    return tls


def client(it, name, tls, session=None):
    return soap.Client(f"https://{name}:{it.directives['port']}", address="127.0.0.1",
                       context=tls, session=session)


# ---- which ---------------------------------------------------------------------------

NAMES = [("", "rsa"), ("localhost", "rsa"), ("MAIL.lab.test", "rsa"), ("mail.lab.test.", "rsa"),
         ("other.lab.test", "other"), ("upper.example", "other"), ("any.lab.test", "wild"),
         ("two.labels.lab.test", "rsa"), ("lab.test", "rsa"), ("foo.example", "rsa"),
         ("unknown.test", "rsa"), ("xlab.test", "rsa"), ("127.0.0.1", "rsa")]


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_names(own, flag):
    with several(own) as it:
        assert {n: shown(own, it, n, flag) for n, _ in NAMES} == dict(NAMES)
        # Said to have been used, or not (RFC 6066 3).
        for name, used in (("other.lab.test", True), ("unknown.test", False)):
            text = s_client(it, name, "-tls1_2", "-tlsextdebug")
            assert ('server extension "server name"' in text) == used, text


def test_kinds_of_key(own):
    """Of two for one name, the first that the client can verify."""
    ec13, rsa13 = "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256"
    with several(own) as it:
        for name, flag, offer, stem in (
                ("mail.lab.test", "-tls1_3", ["-sigalgs", ec13], "curve"),
                ("mail.lab.test", "-tls1_3", ["-sigalgs", f"{ec13}:{rsa13}"], "rsa"),
                ("mail.lab.test", "-tls1_3", ["-sigalgs", "ecdsa_secp384r1_sha384"], None),
                ("", "-tls1_3", ["-sigalgs", ec13], "curve"),
                ("unknown.test", "-tls1_3", ["-sigalgs", ec13], "curve"),
                ("mail.lab.test", "-tls1_2", ["-sigalgs", "ECDSA+SHA384:ECDSA+SHA1"], "curve"),
                ("mail.lab.test", "-tls1_2", ["-cipher", "ECDHE+ECDSA+AESGCM"], "curve"),
                ("mail.lab.test", "-tls1_2", ["-cipher", "ECDHE+aRSA+AESGCM"], "rsa"),
                ("mail.lab.test", "-tls1_2", ["-cipher", "ECDHE+ECDSA+AESGCM", "-curves",
                                              "X25519"], None),
                # The certificate in full cannot be shown: that by wildcard can.
                ("other.lab.test", "-tls1_3", ["-sigalgs", rsa13], "wild"),
                ("other.lab.test", "-tls1_2", ["-cipher", "ECDHE+aRSA+AESGCM"], "wild"),
                ("any.lab.test", "-tls1_3", ["-sigalgs", ec13], None)):
            assert shown(own, it, name, flag, *offer) == stem, (name, flag, offer)
        it.change(**files(own, "curve", "rsa"))
        assert shown(own, it, "mail.lab.test") == "curve"
        assert shown(own, it, "", "-sigalgs", rsa13) == "rsa"


# ---- what hangs on it --------------------------------------------------------------------

def binds(own, reached, stem):
    """The connection takes who is bound to this certificate, and nobody else."""
    for other in STEMS:
        reply = ask(reached, ticket(own, bindings=bindings(pem(own, other))))
        if other == stem:
            assert reply.status == 200, other
        else:
            own_error(reply, 401, "AUTH_FAILED")


@pytest.mark.parametrize("version", VERSIONS)
def test_binding_and_sessions(own, version):
    """A session is resumed under its certificate alone; a resumed connection is
    bound to that."""
    with several(own, channel_binding="require") as it:
        tls = context(own, version)
        with client(it, "other.lab.test", tls) as first, client(it, "localhost", tls) as second:
            binds(own, first, "other")
            binds(own, second, "rsa")
            session, session2 = first.sock.session, second.sock.session
        tls.check_hostname = False
        with client(it, "other.lab.test", tls, session) as again:
            assert ask(again).status == 401 and again.sock.session_reused
            binds(own, again, "other")
            session = again.sock.session
        for name, stem in (("localhost", "rsa"), ("any.lab.test", "wild")):
            with client(it, name, tls, session) as crossed:
                assert ask(crossed).status == 401 and not crossed.sock.session_reused
                binds(own, crossed, stem)
        # The same certificate under its other name.
        with client(it, "mail.lab.test", tls, session2) as again:
            assert ask(again).status == 401 and again.sock.session_reused
            binds(own, again, "rsa")


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_of_listeners_that_differ(own, version, tmp_path):
    """One that asks for clients' certificates takes no session of another, nor
    gives one, whatever the name."""
    ca = Authority(tmp_path / "ca", "Clients")
    with several(own) as free, several(own, "asking", client_certificate="ask",
                                       client_ca=ca.pem) as asking:
        tls = context(own, version)
        with client(free, "other.lab.test", tls) as one:
            challenge(ask(one))
            session = one.sock.session
        assert session.has_ticket
        with client(asking, "other.lab.test", tls, session) as there:
            challenge(ask(there))
            assert not there.sock.session_reused
            assert not (there.sock.session and there.sock.session.has_ticket)
        with client(free, "other.lab.test", tls, session) as again:
            challenge(ask(again))
            assert again.sock.session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_certificates_under_every_name(own, version, tmp_path):
    ca = Authority(tmp_path / "ca", "Clients")
    stranger = Authority(tmp_path / "other", "Others").issue("stranger", "/CN=exch09")
    good = ca.issue("good", "/CN=exch09")
    own.rmsctl("servers", "add", "--role", "exchange", "cert:CN=exch09")
    try:
        with several(own, client_certificate="require", client_ca=ca.pem) as it:
            for name in ("localhost", "other.lab.test", "any.lab.test"):
                tls = context(own, version, good)
                with client(it, name, tls) as reached:
                    assert ask(reached).status == 200
                    session = reached.sock.session
                if session is not None and session.id:
                    with client(it, name, tls, session) as again:
                        assert ask(again).status == 200 and not again.sock.session_reused
                for bad in (stranger, None):
                    with client(it, name, context(own, version, bad)) as reached:
                        with pytest.raises((ssl.SSLError, ConnectionError, soap.BadReply)):
                            ask(reached)
                text = s_client(it, name, "-cert", good, "-key", good)
                assert "Acceptable client certificate CA names\nCN = Clients" in text, text
    finally:
        own.rmsctl("servers", "remove", "cert:CN=exch09")


# ---- reloads ---------------------------------------------------------------------------

def test_renewal_of_one(own):
    """Sessions of the others go on; so do connections that are open."""
    with several(own) as it:
        tls = context(own, VERSIONS[0])
        with client(it, "other.lab.test", tls) as stays, client(it, "any.lab.test", tls) as old:
            challenge(ask(stays))
            challenge(ask(old))
            pki.make_certificate(own.path("tls"), "wild", *STEMS["wild"])
            it.change()
            with client(it, "other.lab.test", tls, stays.sock.session) as again:
                challenge(ask(again))
                assert again.sock.session_reused
            with client(it, "any.lab.test", tls, old.sock.session) as again:
                challenge(ask(again))
                assert not again.sock.session_reused
                assert again.peer_certificate() == der(pem(own, "wild"))
            challenge(ask(old))
        it.change(**files(own, "rsa"))  # one alone, as most have it
        assert shown(own, it, "other.lab.test") == "rsa"


def test_bad_pair_among_good_ones(own):
    with several(own) as it:
        shutil.copy(own.path("tls/rsa.key"), own.path("tls/swapped.key"))
        key = ",".join(own.path(f"tls/{s}.key") for s in ("rsa", "curve", "swapped", "other"))
        said = it.refused(key=key)
        assert "swapped.key: not the key of this certificate" in said, said
        said = it.refused(key=own.path("tls/rsa.key"))
        assert "1 of them for 4 certificates" in said, said
        said = it.refused(certificate=pem(own, "rsa") + ", tls/curve.pem")
        assert "begin each with /" in said, said
        said = it.refused(certificate=",".join(["/x.pem"] * 9), key=",".join(["/x.key"] * 9))
        assert "more than 8 files" in said, said
        joined = own.path("tls/joined.pem")
        with open(joined, "wb") as out:
            for stem in ("curve", "other"):
                with open(pem(own, stem), "rb") as file:
                    out.write(file.read())
        said = it.refused(certificate=f"{pem(own, 'rsa')}, {joined}",
                          key=f"{own.path('tls/rsa.key')}, {own.path('tls/curve.key')}")
        assert "has not issued the one before it" in said and joined in said, said
        assert shown(own, it, "any.lab.test") == "wild"


def test_each_that_expires_is_told(own, tmp_path):
    ca = Authority(tmp_path / "ca", "Old CA")
    bases = [ca.issue(s, f"/CN={s}.test", "server", end=2 * 86400 + 3600)[:-len(".pem")]
             for s in ("one", "two")]
    old, keys = [b + ".crt" for b in bases], [b + ".key" for b in bases]
    for path in keys:
        os.chmod(path, 0o600)
    with several(own, certificate=", ".join([pem(own, "rsa"), *old]),
                 key=", ".join([own.path("tls/rsa.key"), *keys])):
        for path in old:
            own.wait_line("EVENT_LOG", lambda e, p=path: e["id"] == 2140 and p in e["reason"]
                          and "expires in 2 days" in e["reason"])


def test_keys_stay_with_the_keeper(own):
    """Each is found by its public part, also by a keeper that was started anew."""
    with several(own) as it:
        pid = own.kill("keeper")
        own.wait_replaced("keeper", 0, pid)
        for name, stem in NAMES[:7]:
            assert shown(own, it, name) == stem
        with it.server() as server:
            assert server.call(NAME, BODY).status == 200
