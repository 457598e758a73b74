"""The stand-in's token service: OAuth 2.0 client credentials with a secret,
and the memory of which tokens are good, for whom and until when."""

import base64
import binascii
import json
import secrets
import time
import urllib.parse
import uuid

TENANTS_PATH = "/oauth2/v2.0/token"

# error, AADSTS number, HTTP status, text: as the public documentation lists.
ERRORS = {
    "secret": ("invalid_client", 7000215, 401, "Invalid client secret provided."),
    "expired": ("invalid_client", 7000222, 401, "The provided client secret keys are expired."),
    "app": ("unauthorized_client", 700016, 400, "Application with identifier was not found."),
    "scope": ("invalid_scope", 70011, 400, "The provided value for scope is not valid."),
    "grant": ("unsupported_grant_type", 70003, 400, "The grant type is not supported."),
    "missing": ("invalid_request", 900144, 400, "The request body must contain a parameter."),
    "tenant": ("invalid_request", 90002, 400, "Tenant not found."),
    "access": ("access_denied", 53003, 400, "Access has been blocked by Conditional Access."),
}


class Token:
    def __init__(self, client_id, expires):
        self.client_id, self.expires, self.uses = client_id, expires, 0
        self.revoked = False  # on request: its bearer could not know


class TokenService:
    """apps: client id → {"secret": text, "error": name of ERRORS or absent}."""

    def __init__(self, tenant, apps):
        self.tenant, self.apps = tenant, apps
        self.scopes = {"https://aadrm.com/.default", "https://api.aadrm.com/.default"}
        self.expires_in = 3599
        self.refresh_in = None
        self.issued, self.refused = 0, 0
        self.by_client = {}
        self._tokens = {}

    def check(self, text):
        """(Token, "") for a token in force, else (Token or None, why not)."""
        token = self._tokens.get(text)
        if token is None:
            return None, "a token that this service did not issue"
        if time.monotonic() >= token.expires:
            return token, "an expired token"
        token.uses += 1
        return token, ""

    def client_of(self, text):
        token = self._tokens.get(text)
        return token.client_id if token else None

    def revoke_all(self):
        for token in self._tokens.values():
            token.expires, token.revoked = 0.0, True

    def _issue(self, client_id):
        # As long as a real one: about 1.4 kB in three parts.
        text = ".".join(base64.urlsafe_b64encode(secrets.token_bytes(n)).rstrip(b"=").decode()
                        for n in (60, 720, 256))
        self._tokens[text] = Token(client_id, time.monotonic() + self.expires_in)
        self.issued += 1
        self.by_client[client_id] = self.by_client.get(client_id, 0) + 1
        reply = {"token_type": "Bearer", "expires_in": self.expires_in,
                 "ext_expires_in": self.expires_in, "access_token": text}
        if self.refresh_in is not None:
            reply["refresh_in"] = self.refresh_in
        return reply

    def _error(self, name, detail=""):
        error, number, status, text = ERRORS[name]
        self.refused += 1
        now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        description = (f"AADSTS{number}: {text} {detail}".rstrip() + f" Trace ID: {trace} "
                       f"Correlation ID: {correlation} Timestamp: {now}")
        return status, {"error": error, "error_description": description,
                        "error_codes": [number], "timestamp": now, "trace_id": trace,
                        "correlation_id": correlation}

    @staticmethod
    def _credentials(request, form):
        """(client id, secret) from the form or from Basic."""
        scheme, _, rest = request.fields.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(rest, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None, None
            user, _, secret = pair.partition(":")
            return urllib.parse.unquote_plus(user), urllib.parse.unquote_plus(secret)
        return form.get("client_id"), form.get("client_secret")

    def answer(self, request):
        """(status, object for the reply's JSON, client id or "")."""
        tenant = request.target.partition("?")[0][1:-len(TENANTS_PATH)]
        if tenant.lower() != self.tenant.lower():
            return *self._error("tenant", f"Tenant '{tenant}'."), ""
        media = request.fields.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/x-www-form-urlencoded":
            return *self._error("missing", "The body is not a form."), ""
        try:
            pairs = urllib.parse.parse_qsl(request.body.decode("ascii"), strict_parsing=True,
                                           keep_blank_values=True)
        except (ValueError, UnicodeDecodeError):
            return *self._error("missing", "The form cannot be read."), ""
        form = dict(pairs)
        client_id, secret = self._credentials(request, form)
        status, reply = self._decide(form, client_id, secret, len(pairs) != len(form))
        return status, reply, client_id or ""

    def _decide(self, form, client_id, secret, repeated):
        if repeated:
            return self._error("missing", "A parameter is repeated.")
        for name, value in (("grant_type", form.get("grant_type")), ("client_id", client_id),
                            ("scope", form.get("scope")), ("client_secret", secret)):
            if not value:
                return self._error("missing", f"'{name}'.")
        if form["grant_type"] != "client_credentials":
            return self._error("grant")
        app = self.apps.get(client_id)
        if app is None:
            return self._error("app", f"'{client_id}'.")
        if form["scope"] not in self.scopes:
            return self._error("scope", f"'{form['scope']}'.")
        if not secrets.compare_digest(secret.encode(), app["secret"].encode()):
            return self._error("secret")
        if app.get("error"):
            return self._error(app["error"])
        return 200, self._issue(client_id)


def is_token_path(target):
    path = target.partition("?")[0]
    return path.endswith(TENANTS_PATH) and path.count("/") == 4


def to_json(value):
    return json.dumps(value).encode()
