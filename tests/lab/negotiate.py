"""SPNEGO tokens of a Kerberos client, as a Windows server would send them."""

import base64
import hashlib
import os

import gssapi

SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
KERBEROS = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")


def channel_bindings(certificate_der):
    """tls-server-end-point (RFC 5929) of a certificate signed with SHA-256."""
    data = b"tls-server-end-point:" + hashlib.sha256(certificate_der).digest()
    return gssapi.raw.ChannelBindings(application_data=data)


class Negotiate:
    """One authentication to HTTP@host with the tickets of a credential cache
    (default: KRB5CCNAME).  mech is SPNEGO or KERBEROS (a bare AP-REQ)."""

    def __init__(self, host, ccache=None, mech=SPNEGO, bindings=None):
        store = {b"ccache": (ccache or os.environ["KRB5CCNAME"]).encode()}
        credentials = gssapi.raw.acquire_cred_from(store, usage="initiate").creds
        self._context = gssapi.SecurityContext(
            name=gssapi.Name("HTTP@" + host, gssapi.NameType.hostbased_service),
            creds=gssapi.Credentials(credentials), mech=mech, usage="initiate",
            channel_bindings=bindings)

    def token(self, challenge=None):
        """The next token as bytes; None when there is nothing more to send."""
        return self._context.step(challenge)

    def header(self, challenge=None):
        """The value of an Authorization field."""
        return "Negotiate " + base64.b64encode(self.token(challenge)).decode()

    def accept(self, field):
        """Takes the reply's WWW-Authenticate; True when the server proved who
        it is."""
        scheme, _, text = (field or "").partition(" ")
        if scheme.lower() == "negotiate" and text and not self._context.complete:
            self._context.step(base64.b64decode(text))
        return self._context.complete


def header(host, ccache=None, **options):
    """A fresh value of Authorization for one request."""
    return Negotiate(host, ccache, **options).header()
