"""Channel binding of each listener, and what becomes of a connection when its
listener changes: real tickets, real TLS."""

import hashlib
import itertools
import os
import ssl
import subprocess

import pytest

import negotiate
import pki
import soap
from conftest import using
from listener_peers import Listener, bindings, der, listener
from relay_peers import NAME, PATH, ask, challenge, own_error, ticket

BODY = soap.acquire_license()
EXCH, SP = "exch01$@LAB.TEST", "sp01$@LAB.TEST"
# The same event from one address would be held back for a minute.
ADDRESSES = (f"127.0.2.{n}" for n in itertools.count(1))
WRONG = negotiate.channel_bindings(b"another certificate")


@pytest.fixture(scope="module")
def _own(module_lab):
    lab = module_lab()
    for name in ("balancer", "balancer-new", "stranger"):
        pki.make_certificate(lab.path("tls"), name, ["DNS:localhost"])
    return lab


@pytest.fixture
def own(_own):
    yield from using(_own)


def own_certificate(lab):
    return lab.path("tls/connector.pem")


def pem_of(lab, *names):
    """One file of several certificates; its path."""
    path = lab.path("tls/" + "+".join(names) + ".joined")
    with open(path, "w", encoding="ascii") as out:
        for name in names:
            with open(lab.path(f"tls/{name}.pem"), encoding="ascii") as file:
                out.write(file.read().partition("-----END CERTIFICATE-----\n")[0]
                          + "-----END CERTIFICATE-----\n")
    return path


def refused(lab, reply, cause, remedy):
    """A refusal for this cause, and its event."""
    own_error(reply, 401, "AUTH_FAILED")
    told = lab.event(2000, request_id=reply.get("X-RMS-Request-Id"))
    assert f"({cause})" in told["reason"] and remedy in told["reason"], told


# ---- what each mode takes --------------------------------------------------------

def test_require(own):
    right = bindings(own_certificate(own))
    with listener(own, "bound", tls=True, channel_binding="require") as it:
        with it.server(source=next(ADDRESSES)) as server:
            refused(own, ask(server, ticket(own)), "not-bound", "Extended Protection")
            challenge(ask(server))  # nothing stays of it
            reply = ask(server, ticket(own, bindings=right))
            assert reply.status == 200 and own.access(reply)["bound"] is True
            # It is ours alone: the identity stays with the connection.
            reply = ask(server)
            assert reply.status == 200 and own.access(reply)["account"] == EXCH
        with it.client(source=next(ADDRESSES)) as client:
            refused(own, ask(client, ticket(own, bindings=WRONG)), "bad-binding",
                    "channel_binding_certificates")
        for mech in (negotiate.SPNEGO, negotiate.KERBEROS):
            with it.server(mech=mech, bindings=True) as server:
                assert server.call(NAME, BODY).status == 200 and server.mutual
        # Each listener by itself: on the lab's own nothing is required.
        with own.server() as server:
            reply = server.call(NAME, BODY)
            assert reply.status == 200 and own.access(reply)["bound"] is False


def test_allow(own):
    with listener(own, "allowing", tls=True) as it, it.client(source=next(ADDRESSES)) as client:
        for options, bound in (({}, False), ({"bindings": bindings(own_certificate(own))}, True)):
            reply = ask(client, ticket(own, **options))
            assert reply.status == 200 and own.access(reply)["bound"] is bound
        refused(own, ask(client, ticket(own, bindings=WRONG)), "bad-binding", "balancer")


def test_off(own):
    with listener(own, "careless", tls=True, channel_binding="off") as it, it.client() as client:
        for options in ({}, {"bindings": WRONG}, {"bindings": bindings(own_certificate(own))}):
            reply = ask(client, ticket(own, **options))
            assert reply.status == 200 and own.access(reply)["bound"] is False


def test_client_that_vouches_for_its_binding(own):
    """KERB_AP_OPTIONS_CBT: "what I was bound to is in here".  Then nothing in
    there is wrong too, wherever bindings are looked at."""
    with open(own.env["KRB5_CONFIG"], encoding="ascii") as file:
        text = file.read()
    with open(own.path("cbt.conf"), "w", encoding="ascii") as out:
        out.write(text.replace("[libdefaults]",
                               "[libdefaults]\n client_aware_channel_bindings = true"))
    os.environ["KRB5_CONFIG"] = own.path("cbt.conf")
    with listener(own, "aware", tls=True) as it, it.client(source=next(ADDRESSES)) as client:
        refused(own, ask(client, ticket(own)), "bad-binding", "balancer")
        right = bindings(own_certificate(own))
        assert ask(client, ticket(own, bindings=right)).status == 200
        it.change(channel_binding="off")
        assert ask(client, ticket(own)).status == 200


def test_curl(own):
    """Debian's sends no binding: allow lets it in, require does not."""
    def status(it):
        return int(subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--negotiate", "-u", ":",
             "--cacert", own.env["CONNECTOR_CA"], "-H", "Content-Type: text/xml",
             "-H", "SOAPAction: " + dict(soap.soap_fields(NAME))["SOAPAction"],
             "--data-binary", "@-", it.url + PATH], input=BODY, check=True,
            env=dict(os.environ, KRB5CCNAME=own.env["KRB5CCNAME_EXCHANGE"]),
            stdout=subprocess.PIPE).stdout)
    with listener(own, "curled", tls=True) as it:
        assert status(it) == 200
        it.change(channel_binding="require")
        assert status(it) == 401


@pytest.mark.parametrize("curve, digest", [("P-384", "sha384"), ("P-256", "sha512")])
def test_hash_is_that_of_the_signature(own, curve, digest):
    """RFC 5929 4.1: not always SHA-256."""
    stem = f"hash-{digest}"
    pki.make_certificate(own.path("tls"), stem, ["DNS:localhost"],
                         ("EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"), digest=digest)
    shown = der(own.path(f"tls/{stem}.pem"))
    data = b"tls-server-end-point:" + hashlib.new(digest, shown).digest()
    with listener(own, "strong", tls=True, channel_binding="require",
                  certificate=own.path(f"tls/{stem}.pem"),
                  key=own.path(f"tls/{stem}.key")) as it, it.client() as client:
        right = negotiate.gssapi.raw.ChannelBindings(application_data=data)
        assert ask(client, ticket(own, bindings=right)).status == 200
        reply = ask(client, ticket(own, bindings=negotiate.channel_bindings(shown)))
        own_error(reply, 401, "AUTH_FAILED")


# ---- a balancer that ends TLS ------------------------------------------------------

@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_certificates_of_a_balancer(own, tls):
    """Old and new while it is renewed; its connection is not one client's."""
    both = pem_of(own, "balancer", "balancer-new")
    with listener(own, "behind", tls=tls, channel_binding="require",
                  channel_binding_certificates=both) as it, \
            it.client(source=next(ADDRESSES)) as balancer:
        for name, account, who in (("balancer", "EXCHANGE", EXCH),
                                   ("balancer-new", "SHAREPOINT", SP)):
            shown = bindings(own.path(f"tls/{name}.pem"))
            reply = ask(balancer, ticket(own, account, bindings=shown))
            line = own.access(reply)
            assert reply.status == 200 and line["bound"] is True and line["account"] == who
            challenge(ask(balancer))
        stranger = bindings(own.path("tls/stranger.pem"))
        refused(own, ask(balancer, ticket(own, bindings=stranger)), "bad-binding", "balancer")
        refused(own, ask(balancer, ticket(own)), "not-bound", "Extended Protection")
        # A binding to our own certificate does not make it a direct one again.
        if tls:
            right = bindings(own_certificate(own))
            assert ask(balancer, ticket(own, bindings=right)).status == 200
            challenge(ask(balancer))
        # The old one is taken out.
        it.change(channel_binding_certificates=own.path("tls/balancer-new.pem"))
        reply = ask(balancer, ticket(own, bindings=bindings(own.path("tls/balancer.pem"))))
        own_error(reply, 401, "AUTH_FAILED")
        shown = bindings(own.path("tls/balancer-new.pem"))
        assert ask(balancer, ticket(own, bindings=shown)).status == 200


def test_direct_client_beside_a_balancer(own):
    """Whose own binding is right keeps its identity."""
    with listener(own, "mixed", tls=True,
                  channel_binding_certificates=own.path("tls/balancer.pem")) as it, \
            it.server(bindings=True) as server:
        assert server.call(NAME, BODY).status == 200 and server.challenges == 1
        assert ask(server).status == 200


# ---- while connections are open ------------------------------------------------------

def test_reload_from_allow_to_require(own):
    with listener(own, "tighter", tls=True) as it, it.server() as loose, \
            it.server(bindings=True) as bound:
        assert loose.call(NAME, BODY).status == 200 and bound.call(NAME, BODY).status == 200
        assert ask(loose).status == 200
        it.change(channel_binding="require")
        challenge(ask(loose))  # what was enough before is not any more
        assert ask(bound).status == 200
        own_error(ask(loose, ticket(own)), 401, "AUTH_FAILED")
        it.change(channel_binding="allow")
        assert ask(loose, ticket(own)).status == 200


def swap(lab, it, stem):
    it.change(certificate=lab.path(f"tls/{stem}.pem"), key=lab.path(f"tls/{stem}.key"))


def test_renewal_of_our_own_certificate(own):
    """A client is bound to what its own connection was shown, before and after;
    no session is resumed across, whose client would know the old one only."""
    old, new = (bindings(own.path(f"tls/{n}.pem")) for n in ("balancer", "balancer-new"))
    context = ssl.create_default_context(cafile=own.env["CONNECTOR_CA"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the session is there at once
    with listener(own, "renewed", tls=True, channel_binding="require",
                  certificate=own.path("tls/balancer.pem"),
                  key=own.path("tls/balancer.key")) as it, it.client(context=context) as before:
        assert ask(before, ticket(own, bindings=old)).status == 200
        session = before.sock.session
        with it.client(context=context, session=session) as again:
            assert ask(again, ticket(own, bindings=old)).status == 200
            assert again.sock.session_reused
        swap(own, it, "balancer-new")
        assert ask(before).status == 200  # not dropped, nor is who it was
        assert ask(before, ticket(own, bindings=old)).status == 200
        own_error(ask(before, ticket(own, bindings=new)), 401, "AUTH_FAILED")
        with it.client(context=context, session=session) as after:
            assert ask(after, ticket(own, bindings=new)).status == 200
            assert not after.sock.session_reused
            assert after.peer_certificate() == der(own.path("tls/balancer-new.pem"))
            own_error(ask(after, ticket(own, bindings=old)), 401, "AUTH_FAILED")
        assert ask(before, ticket(own, bindings=old)).status == 200


def test_session_is_not_resumed_on_another_listener(own):
    context = ssl.create_default_context(cafile=own.env["CONNECTOR_CA"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with listener(own, "one", tls=True) as one, listener(own, "other", tls=True) as other, \
            one.client(context=context) as client:
        challenge(ask(client))
        with other.client(context=context, session=client.sock.session) as there:
            challenge(ask(there))
            assert not there.sock.session_reused
        with one.client(context=context, session=client.sock.session) as there:
            challenge(ask(there))
            assert there.sock.session_reused


def test_listener_that_is_taken_out(own):
    """Its connections end, those of others do not, and a request under way is
    carried out."""
    it = Listener(own, "leaving", tls=True)
    it.__enter__()
    with it.server(see_end=True) as idle, own.server() as other:
        assert idle.call(NAME, BODY).status == 200 and other.call(NAME, BODY).status == 200
        it.remove()
        assert idle.at_end()
        assert ask(other).status == 200


def test_listener_that_becomes_https(own):
    with listener(own, "changing") as it, it.server(see_end=True) as plain:
        assert plain.call(NAME, BODY).status == 200
        it.change(tls=True, certificate=own.path("tls/connector.pem"),
                  key=own.path("tls/connector.key"))
        assert plain.at_end()
        with it.server() as server:
            assert server.call(NAME, BODY).status == 200


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_connection_auth_of_one_listener(own, tls):
    with listener(own, "each", tls=tls, connection_auth=False) as it, it.server() as server, \
            own.server(tls=tls) as other:
        assert server.call(NAME, BODY).status == 200 and other.call(NAME, BODY).status == 200
        challenge(ask(server))
        assert ask(other).status == 200
        assert ask(server, ticket(own)).status == 200
        it.change(connection_auth=True)
        assert ask(server, ticket(own)).status == 200
        assert ask(server).status == 200
        it.change(connection_auth=False)
        challenge(ask(server))
        # Its own word counts whatever the node's is.
        own.configure(connection_auth="false")
        try:
            assert ask(server, ticket(own)).status == 200
            challenge(ask(server))
            it.change(connection_auth=True)
            assert ask(server, ticket(own)).status == 200 == ask(server).status
            challenge(ask(other))
            it.change(connection_auth="node")
            challenge(ask(server))
        finally:
            own.configure(connection_auth="true")
        assert ask(server, ticket(own)).status == 200 == ask(server).status


# ---- bad input -------------------------------------------------------------------

@pytest.mark.parametrize("changes, says", [
    ({"channel_binding": "maybe"}, "write allow, off or require"),
    ({"connection_auth": "perhaps"}, "write node, true or false"),
    ({"channel_binding_certificates": "/nonexistent/pem"}, "no such file"),
    ({"channel_binding_certificates": "{empty}"}, "no certificate in it"),
    ({"channel_binding_certificates": "{junk}"}, "no certificate in it"),
    ({"channel_binding_certificates": "{many}"}, "more certificates"),
    ({"channel_binding_certificates": "{right}", "channel_binding": "off"}, "is off"),
    ({"tls": False, "certificate": None, "key": None, "channel_binding": "require"},
     "without TLS"),
])
def test_refused(own, changes, says):
    files = {"empty": own.path("empty.pem"), "junk": own.path("junk.pem"),
             "many": pem_of(own, *["balancer"] * 8), "right": own.path("tls/balancer.pem")}
    for name, data in (("empty", ""), ("junk", "junk\n")):
        with open(files[name], "w", encoding="ascii") as file:
            file.write(data)
    changes = {n: v.format(**files) if isinstance(v, str) else v for n, v in changes.items()}
    with listener(own, "wrong", tls=True, channel_binding="require") as it, \
            it.server(bindings=True) as server:
        assert server.call(NAME, BODY).status == 200
        said = it.refused(**changes)
        assert says in said and "rms-connector.conf:" in said, said
        assert says in own.event(2100)["reason"]
        # The old one is in force, on this connection and on a new one.
        assert ask(server).status == 200
        with it.client() as client:
            own_error(ask(client, ticket(own)), 401, "AUTH_FAILED")
