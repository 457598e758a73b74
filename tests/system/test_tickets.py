"""TLS sessions of one node resumed at another: two labs with one certificate
and one secret, and with all that is not one."""

import hmac
import os
import re
import ssl

import pytest

import process_peers
import sanitizers
from as_root import needs_root
from conftest import using
from listener_peers import Listener
from relay_peers import ask, challenge

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
DIRECTIVE = "tls_ticket_secret_file"


@pytest.fixture(scope="module")
def _nodes(module_lab):
    """The same listener in two labs."""
    first, second = module_lab(workers=1), module_lab(workers=2)
    pair = {"certificate": first.path("tls/connector.pem"),
            "key": first.path("tls/connector.key"), "tls": True}
    with Listener(first, "shared", **pair) as one, Listener(second, "shared", **pair) as two:
        yield one, two


@pytest.fixture
def nodes(_nodes):
    """Both without a secret, before and after."""
    one, two = _nodes
    for first in using(one.lab):
        for second in using(two.lab):
            assert first and second
            yield one, two
            for node in (one, two):
                secret_file(node, None)


def secret(directory, data=None, mode=0o600):
    """A file with these bytes, else with random ones; its path."""
    path = str(directory / f"secret{len(os.listdir(directory))}")
    with open(path, "wb") as out:
        out.write(os.urandom(32) if data is None else data)
    os.chmod(path, mode)
    return path


def secret_file(node, path, reload=True):
    """The node's file names this one (None: no secret), and it is in force."""
    conf = node.lab.env["CONNECTOR_CONF"]
    with open(conf, encoding="utf-8") as file:
        text = re.sub(f"{DIRECTIVE} = .*\n", "", file.read())
    with open(conf + ".new", "w", encoding="utf-8") as out:
        out.write((f'{DIRECTIVE} = "{path}"\n' if path else "") + text)
    os.rename(conf + ".new", conf)
    if reload:
        node.lab.rmsctl("reload")
        node.lab.wait_ready()


def context(nodes, version):
    tls = ssl.create_default_context(cafile=nodes[0].lab.env["CONNECTOR_CA"])
    tls.minimum_version = tls.maximum_version = version
    return tls


def visit(node, tls, session=None):
    """Whether the session was resumed, and the one for next time."""
    with node.client(context=tls, session=session) as client:
        challenge(ask(client))
        return client.sock.session_reused, client.sock.session


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_of_another_node(nodes, version, tmp_path):
    one, two = nodes
    tls = context(nodes, version)
    _, session = visit(one, tls)
    resumed, _ = visit(two, tls, session)
    assert not resumed  # random keys: a full handshake
    shared = secret(tmp_path)
    secret_file(one, shared)
    _, session = visit(one, tls)
    resumed, _ = visit(two, tls, session)
    assert not resumed  # one alone has it
    secret_file(two, shared)
    for node in (two, one, two, two, one):
        resumed, session = visit(node, tls, session)
        assert resumed, node.lab.dir


def test_change_of_the_secret(nodes, tmp_path):
    """What was given out goes on where it was known; nothing new is shared with
    a node that has the old one."""
    one, two = nodes
    tls = context(nodes, VERSIONS[1])
    old, new = secret(tmp_path), secret(tmp_path)
    for node in nodes:
        secret_file(node, old)
    _, before = visit(one, tls)
    secret_file(two, new)
    resumed, after = visit(two, tls, before)
    assert resumed  # by a key that is retired, and it gets a new ticket
    resumed, _ = visit(one, tls, after)
    assert not resumed
    secret_file(one, new)
    resumed, after = visit(one, tls, after)
    assert resumed
    resumed, _ = visit(two, tls, after)
    assert resumed
    # A reload without a change changes nothing; the file may be written anew.
    two.lab.rmsctl("reload")
    resumed, after = visit(two, tls, after)
    assert resumed


def test_listeners_that_are_not_the_same(nodes, tmp_path):
    """The keys are the same, what a session stands for is not."""
    one, two = nodes
    tls = context(nodes, VERSIONS[1])
    shared = secret(tmp_path)
    for node in nodes:
        secret_file(node, shared)
    _, session = visit(one, tls)
    pair = {"certificate": one.directives["certificate"], "key": one.directives["key"]}
    with Listener(two.lab, "another", tls=True, **pair) as another:
        resumed, _ = visit(another, tls, session)
        assert not resumed
    resumed, _ = visit(two, tls, session)
    assert resumed


def test_bad_secrets(nodes, tmp_path):
    one, two = nodes
    tls = context(nodes, VERSIONS[1])
    good = secret(tmp_path)
    for node in nodes:
        secret_file(node, good)
    for path, says in ((str(tmp_path / "none"), "no such file"),
                       (secret(tmp_path, mode=0o640), "chmod 600"),
                       (secret(tmp_path, os.urandom(31)), "shorter than 32 bytes"),
                       (secret(tmp_path, b""), "shorter than 32 bytes"),
                       (secret(tmp_path, bytes(5000)), "far too large"),
                       (str(tmp_path), "not a regular file")):
        secret_file(one, path, reload=False)
        done = one.lab.rmsctl("reload", check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0 and says in said and DIRECTIVE in said and \
            "rms-connector.conf:" in said, said
    _, session = visit(one, tls)
    resumed, _ = visit(two, tls, session)
    assert resumed  # the good one is in force


@needs_root
@pytest.mark.skipif(sanitizers.mode() is not None, reason="a sanitizer maps terabytes of memory")
def test_no_child_has_the_secret(nodes, tmp_path):
    """Nor what the master makes of it (master/ticket_ring.h), which is as good."""
    one, _ = nodes
    data = os.urandom(32)
    made = hmac.digest(b"rms-connector TLS tickets 1", data, "sha256")
    secret_file(one, secret(tmp_path, data))
    visit(one, context(nodes, VERSIONS[1]))
    needles = {"secret": data, "made of it": made}
    assert process_peers.found(one.lab.process("rms-connectord").pid, needles) == {"made of it"}
    for row in one.lab.status()["processes"]:
        assert process_peers.found(row["pid"], needles) == set(), row
