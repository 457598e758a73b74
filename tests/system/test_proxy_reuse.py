"""Two clients behind a HAProxy that works on HTTP and reuses its connections to
us: neither ever gets the other's identity, on any kind of listener."""

import contextlib

import pytest

import pki
import soap
from cert_peers import Authority
from conftest import using
from haproxy_peers import Haproxy
from listener_peers import Listener, bindings
from relay_peers import ask, challenge, own_error, ticket

EXCH, SP = "exch01$@LAB.TEST", "sp01$@LAB.TEST"
KINDS = ("http", "https", "client-certificate")


class World:
    """A lab of one relay (so that there is one connection to share), a
    listener of each kind, and a HAProxy before each."""

    def __init__(self, lab):
        self.lab, self.stack = lab, contextlib.ExitStack()
        ca = Authority(lab.path("pki-proxy"), "Proxy Root")
        shown = ca.issue("proxy", "/CN=proxy")
        lab.rmsctl("servers", "add", "--role", "fci", "cert:CN=proxy")
        pki.make_certificate(lab.path("tls"), "ends", ["DNS:localhost"])
        self.ends = lab.path("tls/ends-both.pem")
        with open(self.ends, "w", encoding="ascii") as out:
            for end in ("pem", "key"):
                with open(lab.path(f"tls/ends.{end}"), encoding="ascii") as file:
                    out.write(file.read())
        asks = {"tls": True, "client_certificate": "ask", "client_ca": ca.pem}
        self.listeners = {
            "http": Listener(lab, "p-http"), "https": Listener(lab, "p-https", tls=True),
            "client-certificate": Listener(lab, "p-cert", **asks)}
        for it in self.listeners.values():
            self.stack.enter_context(it)
        ways = {}
        for kind, it in self.listeners.items():
            for shows in ("forwardfor", "via", "hidden"):
                ways[f"{kind}-{shows}"] = (it, shows, None, None)
                ways[f"{kind}-{shows}-tls"] = (it, shows, None, self.ends)
        ways["own-certificate"] = (self.listeners["client-certificate"], "forwardfor", shown, None)
        self.proxy = self.stack.enter_context(Haproxy(lab, ways))

    def client(self, way):
        return soap.Client(self.proxy.url(way), ca=self.lab.env["CONNECTOR_CA"])

    @contextlib.contextmanager
    def two(self, way):
        """Two clients; afterwards: that they shared one connection to us."""
        before = self.lab.counters()["conns_accepted"]
        with self.client(way) as one, self.client(way) as two:
            yield one, two
        # (One that an earlier test left idle serves as well.)
        assert self.lab.counters()["conns_accepted"] - before <= 1, "not shared: proves nothing"

    def who(self, reply):
        assert reply.status == 200, reply.body
        return self.lab.access(reply)["account"]


@pytest.fixture(scope="module")
def _world(module_lab):
    world = World(module_lab(workers=1))
    yield world
    world.stack.close()


@pytest.fixture
def world(_world):
    for _ in using(_world.lab):
        yield _world
    for it in _world.listeners.values():
        it.directives.pop("connection_auth", None)


def never_the_others(world, way):
    lab = world.lab
    with world.two(way) as (one, two):
        assert world.who(ask(one, ticket(lab))) == EXCH
        assert world.who(ask(two, ticket(lab, "SHAREPOINT"))) == SP
        assert world.who(ask(one, ticket(lab))) == EXCH
        # Whoever brings nothing is nobody.  (A HAProxy that reads our 401 does
        # not share this connection any more: it is the last of them.)
        challenge(ask(two))
    with world.two(way) as (one, two):
        assert world.who(ask(one, ticket(lab))) == EXCH
        own_error(ask(two, ("Authorization", "Negotiate bm9uc2Vuc2U=")), 401, "AUTH_FAILED")
    assert lab.cloud()["total"] == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shows", ["forwardfor", "via"])
def test_proxy_that_shows_itself(world, kind, shows):
    never_the_others(world, f"{kind}-{shows}")


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_proxy_where_every_request_authenticates(world, kind):
    it = world.listeners[kind]
    it.change(connection_auth=False)
    try:
        never_the_others(world, f"{kind}-hidden")
    finally:
        it.change(connection_auth=None)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_proxy_whose_certificate_is_known(world, kind):
    """Its clients' binding gives it away: channel_binding_certificates."""
    it, lab = world.listeners[kind], world.lab
    shown = bindings(lab.path("tls/ends.pem"))
    it.change(channel_binding="require", channel_binding_certificates=lab.path("tls/ends.pem"))
    try:
        with world.two(f"{kind}-hidden-tls") as (one, two):
            assert world.who(ask(one, ticket(lab, bindings=shown))) == EXCH
            assert world.who(ask(two, ticket(lab, "SHAREPOINT", bindings=shown))) == SP
            challenge(ask(one))
    finally:
        it.change(channel_binding=None, channel_binding_certificates=None)


@pytest.mark.parametrize("kind", ["https", "client-certificate"])
def test_hidden_proxy_where_binding_is_required(world, kind):
    """Nobody comes through that ends TLS, so nobody can share what stays."""
    it, lab = world.listeners[kind], world.lab
    it.change(channel_binding="require")
    try:
        for options in ({}, {"bindings": bindings(lab.path("tls/ends.pem"))}):
            with world.client(f"{kind}-hidden-tls") as client:
                own_error(ask(client, ticket(lab, **options)), 401, "AUTH_FAILED")
        assert lab.cloud()["total"] == 0
    finally:
        it.change(channel_binding=None)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_proxy_with_clients_of_two_kinds(world, kind):
    """What differs in User-Agent is not one client: from then on each request
    of this connection authenticates."""
    lab = world.lab
    with world.two(f"{kind}-hidden") as (one, two):
        assert world.who(ask(one, ("User-Agent", "Exchange/15.2"), ticket(lab))) == EXCH
        challenge(ask(two, ("User-Agent", "SharePoint/16.0")))


def test_what_a_hidden_proxy_can_do(world):
    """The limit of what can be seen from here, as OPERATIONS.md tells it: its
    connection looks like that of one client."""
    lab = world.lab
    with world.two("http-hidden") as (one, two):
        assert world.who(ask(one, ticket(lab))) == EXCH
        assert world.who(ask(two)) == EXCH


def test_proxy_with_a_certificate_of_its_own(world):
    """It is nobody's but its own, and no request is let in by it."""
    lab = world.lab
    with world.two("own-certificate") as (one, two):
        assert world.who(ask(one, ticket(lab))) == EXCH
        challenge(ask(two))
    assert lab.cloud()["total"] == 1
