"""NTLM tokens of a client, as a Windows server would send them: raw or inside
SPNEGO, through gss-ntlmssp."""

import base64
import os

import gssapi
import gssapi.raw

NTLM = gssapi.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
SIGNATURE = b"NTLMSSP\0"


class Ntlm:
    """One authentication of DOMAIN\\user to HTTP@host."""

    def __init__(self, account, password, host="localhost", spnego=False, bindings=None):
        # The client's own names; without them it would ask its winbind.
        os.environ.setdefault("NETBIOS_COMPUTER_NAME", "CLIENT")
        os.environ.setdefault("NETBIOS_DOMAIN_NAME", "CLIENT")
        credentials = gssapi.raw.acquire_cred_with_password(
            gssapi.Name(account, gssapi.NameType.user), password.encode(),
            mechs=[NTLM, SPNEGO] if spnego else [NTLM], usage="initiate").creds
        if spnego:
            gssapi.raw.set_neg_mechs(credentials, [NTLM])
        self._context = gssapi.SecurityContext(
            name=gssapi.Name("HTTP@" + host, gssapi.NameType.hostbased_service),
            creds=gssapi.Credentials(credentials), mech=SPNEGO if spnego else NTLM,
            usage="initiate", channel_bindings=bindings)

    def token(self, challenge=None):
        """The next token as bytes; None when there is nothing more to send."""
        return self._context.step(challenge)


def challenge(reply, scheme):
    """The token of a 401 that wants another leg."""
    words = [v.partition(" ") for v in reply.all("WWW-Authenticate")]
    [text] = [rest for name, _, rest in words if name == scheme and rest]
    return base64.b64decode(text)


def has_challenge(reply, scheme):
    return any(v.startswith(scheme + " ") for v in reply.all("WWW-Authenticate"))
