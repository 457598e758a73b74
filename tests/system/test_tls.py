"""What a listener's TLS agrees to, and what it refuses: by OpenSSL's own client,
and by a hello written by hand where that has no option."""

import socket
import ssl
import struct
import subprocess

import pytest

import pki
from conftest import using
from listener_peers import listener

ALERT_NO_APPLICATION_PROTOCOL = 120
MODERN = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256",
          "ECDHE-RSA-CHACHA20-POLY1305"]
WEAK = ["AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384",
        "DHE-RSA-AES256-GCM-SHA384", "AECDH-AES128-SHA", "ECDHE-RSA-NULL-SHA"]


@pytest.fixture(scope="module")
def _own(module_lab):
    return module_lab(workers=1)


@pytest.fixture
def own(_own):
    yield from using(_own)


def s_client(port, *options, say=b""):
    """What it prints, and whether its handshake was done."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
                          input=say, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=30, check=False)
    return done.stdout.decode(errors="replace"), done.returncode == 0


def context(lab, **members):
    made = ssl.create_default_context(cafile=lab.env["CONNECTOR_CA"])
    for name, value in members.items():
        setattr(made, name, value)
    return made


# ---- a hello by hand ---------------------------------------------------------------

def extension(number, body):
    return struct.pack(">HH", number, len(body)) + body


def listed(body, size=2):
    return len(body).to_bytes(size, "big") + body


def hello(*extensions, compression=b"\0", suites=(0xC02F, 0xC02B)):
    """A record with a ClientHello of TLS 1.2."""
    known = [extension(10, listed(struct.pack(">HH", 29, 23))), extension(11, b"\1\0"),
             extension(13, listed(struct.pack(">4H", 0x0804, 0x0401, 0x0403, 0x0501)))]
    body = (b"\3\3" + bytes(32) + b"\0" + listed(struct.pack(f">{len(suites)}H", *suites))
            + listed(compression, 1) + listed(b"".join(known + list(extensions))))
    return b"\x16\3\1" + listed(b"\1" + listed(body, 3))


def answer(port, record):
    """The first record that comes back: its type and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(record)
        with sock.makefile("rb") as file:
            head = file.read(5)
            return head[0], file.read(int.from_bytes(head[3:], "big"))


def test_no_compression(own):
    """The method that a server chose stands behind its session id.  (Debian's
    OpenSSL has no zlib: with that one no setting of ours could make this fail.)"""
    kind, body = answer(own.ports["https"], hello(compression=b"\1\0"))
    assert kind == 22 and body[0] == 2, (kind, body[:4])
    assert body[38 + 1 + body[38] + 2] == 0
    kind, body = answer(own.ports["https"], hello(compression=b"\1"))
    assert kind == 21 and body[0] == 2  # null has to be among them


# ---- ALPN --------------------------------------------------------------------------

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_alpn(own, version):
    for names, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"),
                          (None, None)):
        tls = context(own, maximum_version=version)
        if names:
            tls.set_alpn_protocols(names)
        with own.client(context=tls) as client:
            assert client.get("/healthz").status == 200
            assert client.sock.selected_alpn_protocol() == chosen
            assert client.sock.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_client_of_http2_alone(own, flag):
    text, done = s_client(own.ports["https"], flag, "-alpn", "h2")
    assert not done and f"alert number {ALERT_NO_APPLICATION_PROTOCOL}" in text, text
    kind, body = answer(own.ports["https"], hello(extension(16, listed(listed(b"h2", 1)))))
    assert (kind, body) == (21, bytes((2, ALERT_NO_APPLICATION_PROTOCOL)))


# ---- versions and suites -------------------------------------------------------------

@pytest.mark.parametrize("flag", ["-tls1", "-tls1_1"])
def test_old_versions(own, flag):
    text, done = s_client(own.ports["https"], flag, "-cipher", "ALL:@SECLEVEL=0")
    assert not done and "alert protocol version" in text, text


def test_suites_of_tls12(own):
    for name in MODERN:
        text, done = s_client(own.ports["https"], "-tls1_2", "-cipher", name)
        assert done and f"Cipher is {name}" in text, text
    for name in WEAK:
        text, done = s_client(own.ports["https"], "-tls1_2", "-cipher", name + ":@SECLEVEL=0")
        assert not done and "handshake failure" in text, (name, text)


def test_suites_of_a_curve(own):
    pki.make_certificate(own.path("tls"), "curve", ["DNS:localhost"], pki.EC)
    with listener(own, "curve", tls=True, certificate=own.path("tls/curve.pem"),
                  key=own.path("tls/curve.key")) as it:
        for name, good in (("ECDHE-ECDSA-AES256-GCM-SHA384", True),
                           ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
                           ("ECDHE-ECDSA-AES128-SHA256", False),
                           ("ECDHE-ECDSA-AES128-CCM8", False)):
            text, done = s_client(it.directives["port"], "-tls1_2", "-cipher",
                                  name + ":@SECLEVEL=0")
            assert done == good, (name, text)


# ---- what is not done -----------------------------------------------------------------

def test_no_renegotiation(own):
    text, _ = s_client(own.ports["https"], "-tls1_2", say=b"R\n")
    assert "RENEGOTIATING" in text and "no renegotiation" in text, text


def test_no_early_data(own, tmp_path):
    """No ticket allows any."""
    session = str(tmp_path / "session")
    early = tmp_path / "early"
    early.write_bytes(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text, _ = s_client(own.ports["https"], "-tls1_3", "-sess_out", session, "-ign_eof",
                       say=b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close"
                           b"\r\n\r\n")
    assert "HTTP/1.1 200" in text and "Max Early Data: 0" in text, text
    text, _ = s_client(own.ports["https"], "-tls1_3", "-sess_in", session, "-early_data",
                       str(early))
    assert "Reused, TLSv1.3" in text and "Early data was not sent" in text, text
    assert "HTTP/1.1 200" not in text
