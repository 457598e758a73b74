"""Two clients behind a proxy that works on HTTP and reuses its connections to
us: neither ever gets the other's identity, on any kind of listener, whether
the proxy shows itself or not.

HAProxy is one that keeps a connection to its client once it saw our 401; nginx
shares on."""

import contextlib

import pytest

import pki
import soap
from cert_peers import Authority
from conftest import using
from haproxy_peers import Haproxy
from listener_peers import Listener, bindings
from nginx_peers import Nginx
from relay_peers import ask, challenge, own_error, ticket

EXCH, SP, PROXY = "exch01$@LAB.TEST", "sp01$@LAB.TEST", "CN=proxy"
KINDS = ("http", "https", "client-certificate")
TLS_KINDS = KINDS[1:]
PROXIES = ("haproxy", "nginx")


class World:
    """A lab of one relay (so that there is one connection to share); of each
    kind a listener as it is by default and one with connection_auth ("-on");
    and before each of them both proxies."""

    def __init__(self, lab):
        self.lab, self.stack = lab, contextlib.ExitStack()
        ca = Authority(lab.path("pki-proxy"), "Proxy Root")
        self.shown = ca.issue("proxy", "/CN=proxy")
        lab.rmsctl("servers", "add", "--role", "fci", "cert:" + PROXY)
        pki.make_certificate(lab.path("tls"), "ends", ["DNS:localhost"])
        self.listeners = {}
        for kind, on in ((k, on) for on in ({}, {"connection_auth": True}) for k in KINDS):
            tls = {} if kind == "http" else {"tls": True}
            if kind == "client-certificate":
                tls.update(client_certificate="ask", client_ca=ca.pem)
            name = kind + ("-on" if on else "")
            self.listeners[name] = self.stack.enter_context(
                Listener(lab, f"p-{name}", **tls, **on))
        self._proxies({"ends": self._both("ends"), "same": self._both("connector")})

    def _both(self, stem):
        """Certificate and key in one file."""
        path = self.lab.path(f"tls/{stem}-both.pem")
        with open(path, "w", encoding="ascii") as out:
            for end in ("pem", "key"):
                with open(self.lab.path(f"tls/{stem}.{end}"), encoding="ascii") as file:
                    out.write(file.read())
        return path

    def _proxies(self, certificates):
        """Ways are named LISTENER-PROXY[-SIGN][-CERTIFICATE]."""
        haproxy, nginx = {}, {}
        for name, it in self.listeners.items():
            port, tls = it.directives["port"], "tls" in it.directives
            for shows in ("forwardfor", "via"):
                haproxy[f"{name}-haproxy-{shows}"] = (it, shows, None, None)
            for end, pem in (("", None), *(("-" + n, p) for n, p in certificates.items())):
                haproxy[f"{name}-haproxy{end}"] = (it, "hidden", None, pem)
                nginx[f"{name}-nginx{end}"] = (port, tls, None, pem)
            if "client_ca" in it.directives:
                haproxy[f"{name}-haproxy-own"] = (it, "hidden", self.shown, None)
                haproxy[f"{name}-haproxy-own-forwardfor"] = (it, "forwardfor", self.shown, None)
                nginx[f"{name}-nginx-own"] = (port, tls, self.shown, None)
        self.proxy = {"haproxy": self.stack.enter_context(Haproxy(self.lab, haproxy)),
                      "nginx": self.stack.enter_context(Nginx(self.lab, nginx))}

    def client(self, way):
        proxy = next(p for n, p in self.proxy.items() if n in way)
        return soap.Client(proxy.url(way), ca=self.lab.env["CONNECTOR_CA"])

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
    world = World(module_lab(direct=False, workers=1))
    yield world
    world.stack.close()


@pytest.fixture
def world(_world):
    for _ in using(_world.lab):
        yield _world


def never_the_others(world, way, **options):
    """options: of the clients' tickets."""
    lab = world.lab
    with world.two(way) as (one, two):
        assert world.who(ask(one, ticket(lab, **options))) == EXCH
        assert world.who(ask(two, ticket(lab, "SHAREPOINT", **options))) == SP
        assert world.who(ask(one, ticket(lab, **options))) == EXCH
        # Whoever brings nothing is nobody.  (A HAProxy that reads our 401 does
        # not share this connection any more: it is the last of them.)
        challenge(ask(two))
    with world.two(way) as (one, two):
        assert world.who(ask(one, ticket(lab, **options))) == EXCH
        own_error(ask(two, ("Authorization", "Negotiate bm9uc2Vuc2U=")), 401, "AUTH_FAILED")
    if "nginx" in way:
        with world.two(way) as (one, two):
            for _ in range(3):
                assert world.who(ask(one, ticket(lab, **options))) == EXCH
                challenge(ask(two))
                challenge(ask(one))
    assert lab.cloud()["total"] == (7 if "nginx" in way else 4)


# ---- as it is by default --------------------------------------------------------

@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_proxy(world, kind, proxy):
    never_the_others(world, f"{kind}-{proxy}")


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("kind", TLS_KINDS)
@pytest.mark.parametrize("require", [False, True], ids=["allow", "require"])
def test_hidden_proxy_with_our_own_certificate(world, kind, proxy, require):
    """A balancer that ends TLS often has it.  Its clients' binding is then that
    of our own connections: it is right, and says nothing of whose they are."""
    it, lab = world.listeners[kind], world.lab
    shown = bindings(lab.path("tls/connector.pem"))
    if require:
        it.change(channel_binding="require")
    try:
        never_the_others(world, f"{kind}-{proxy}-same", bindings=shown)
        with world.client(f"{kind}-{proxy}-same") as client:
            assert lab.access(ask(client, ticket(lab, bindings=shown)))["bound"] is True
    finally:
        if require:
            it.change(channel_binding=None)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("kind", TLS_KINDS)
def test_hidden_proxy_whose_certificate_is_known(world, kind, proxy):
    it, lab = world.listeners[kind], world.lab
    it.change(channel_binding="require", channel_binding_certificates=lab.path("tls/ends.pem"))
    try:
        never_the_others(world, f"{kind}-{proxy}-ends",
                         bindings=bindings(lab.path("tls/ends.pem")))
    finally:
        it.change(channel_binding=None, channel_binding_certificates=None)


@pytest.mark.parametrize("proxy", PROXIES)
def test_hidden_proxy_with_a_certificate_of_its_own(world, proxy):
    """It belongs to the proxy's connection.  Who is on the list by it is the
    proxy, for whatever it sends; nobody is taken for another client."""
    lab = world.lab
    with world.two(f"client-certificate-{proxy}-own") as (one, two):
        for _ in range(2):
            assert world.who(ask(one, ticket(lab))) == EXCH
            assert world.who(ask(two, ticket(lab, "SHAREPOINT"))) == SP
            assert world.who(ask(one)) == world.who(ask(two)) == PROXY


# ---- with connection_auth ------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shows", ["forwardfor", "via"])
def test_proxy_that_shows_itself(world, kind, shows):
    never_the_others(world, f"{kind}-on-haproxy-{shows}")


@pytest.mark.parametrize("kind", KINDS)
def test_certificate_that_is_known(world, kind):
    """Its clients' binding gives it away: channel_binding_certificates."""
    it, lab = world.listeners[kind + "-on"], world.lab
    shown = bindings(lab.path("tls/ends.pem"))
    it.change(channel_binding="require", channel_binding_certificates=lab.path("tls/ends.pem"))
    try:
        never_the_others(world, f"{kind}-on-haproxy-ends", bindings=shown)
    finally:
        it.change(channel_binding=None, channel_binding_certificates=None)


@pytest.mark.parametrize("kind", TLS_KINDS)
def test_binding_is_required(world, kind):
    """Nobody comes through that ends TLS with another certificate than ours."""
    it, lab = world.listeners[kind + "-on"], world.lab
    it.change(channel_binding="require")
    try:
        for options in ({}, {"bindings": bindings(lab.path("tls/ends.pem"))}):
            with world.client(f"{kind}-on-haproxy-ends") as client:
                own_error(ask(client, ticket(lab, **options)), 401, "AUTH_FAILED")
        assert lab.cloud()["total"] == 0
    finally:
        it.change(channel_binding=None)


@pytest.mark.parametrize("kind", KINDS)
def test_clients_of_two_kinds(world, kind):
    """What differs in User-Agent is not one client: from then on each request
    of this connection authenticates."""
    lab = world.lab
    with world.two(f"{kind}-on-haproxy") as (one, two):
        assert world.who(ask(one, ("User-Agent", "Exchange/15.2"), ticket(lab))) == EXCH
        challenge(ask(two, ("User-Agent", "SharePoint/16.0")))


def test_proxy_with_a_certificate_of_its_own(world):
    """It is nobody's but its own, and where it shows itself no request is let
    in by it."""
    lab = world.lab
    with world.two("client-certificate-on-haproxy-own-forwardfor") as (one, two):
        assert world.who(ask(one, ticket(lab))) == EXCH
        challenge(ask(two))
    assert lab.cloud()["total"] == 1


@pytest.mark.parametrize("kind, end", [("http", ""), ("https", "-same")])
def test_what_connection_auth_is_not_for(world, kind, end):
    """Why it is off by default, and what OPERATIONS.md warns of: a proxy that
    hides itself looks like one client, also by its binding where it has our
    certificate.  Were this test to fail, the warning could go."""
    lab = world.lab
    bound = {"bindings": bindings(lab.path("tls/connector.pem"))} if end else {}
    with world.two(f"{kind}-on-haproxy{end}") as (one, two):
        assert world.who(ask(one, ticket(lab, **bound))) == EXCH
        assert world.who(ask(two)) == EXCH
