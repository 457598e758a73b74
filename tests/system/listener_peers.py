"""Listeners of a test's own, in a lab that is up: put into its file, taken into
force by a reload, taken out again."""

import contextlib
import subprocess

import negotiate
import soap
from procs import free_ports, port_lock


def text(value):
    """A value as it stands in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'


class Listener:
    """Use with `with`; directives are those of the section, port is chosen.
    With tls the certificate is the lab's where none is named."""

    def __init__(self, lab, name, **directives):
        self.lab, self.name, self.directives = lab, name, {"address": "127.0.0.1", **directives}
        if self.directives.get("tls"):
            self.directives.setdefault("certificate", lab.path("tls/connector.pem"))
            self.directives.setdefault("key", lab.path("tls/connector.key"))

    def _others(self):
        with open(self.lab.env["CONNECTOR_CONF"], encoding="utf-8") as file:
            before, mark, rest = file.read().partition(f"# {self.name} begins\n")
        return before + rest.partition(f"# {self.name} ends\n")[2] if mark else before

    def _write(self, section):
        with open(self.lab.env["CONNECTOR_CONF"] + ".new", "w", encoding="utf-8") as file:
            file.write(self._others() + section)
        subprocess.run(["mv", self.lab.env["CONNECTOR_CONF"] + ".new",
                        self.lab.env["CONNECTOR_CONF"]], check=True)

    def write(self, **changes):
        """Puts it into the file, with changes (None takes one out)."""
        for name, value in changes.items():
            if value is None:
                self.directives.pop(name, None)
            else:
                self.directives[name] = value
        lines = "".join(f"\t{n} = {text(v)}\n" for n, v in self.directives.items())
        self._write(f"# {self.name} begins\nlistener {self.name} {{\n{lines}}}\n"
                    f"# {self.name} ends\n")

    def change(self, **changes):
        """The same, and in force."""
        self.write(**changes)
        self.lab.rmsctl("reload")
        self.lab.wait_ready()

    def refused(self, **changes):
        """A reload with these is refused; what it says.  The file is as before
        afterwards, and so is what is in force."""
        before = dict(self.directives)
        self.write(**changes)
        result = self.lab.rmsctl("reload", check=False)
        self.directives = before
        self.write()
        assert result.returncode != 0, result.stdout
        return result.stdout + result.stderr

    def remove(self):
        self._write("")
        self.lab.rmsctl("reload")
        self.lab.wait_ready()

    def __enter__(self):
        with port_lock():
            [self.directives["port"]] = free_ports(1)
            self.change()
        return self

    def __exit__(self, *_):
        self.remove()

    @property
    def url(self):
        return f"http{'s' if self.directives.get('tls') else ''}://localhost:" \
            f"{self.directives['port']}"

    def client(self, **options):
        options.setdefault("ca", self.lab.env["CONNECTOR_CA"])
        return soap.Client(self.url, **options)

    def server(self, account="EXCHANGE", **options):
        options.setdefault("ca", self.lab.env["CONNECTOR_CA"])
        return soap.Server(self.url, self.lab.env["KRB5CCNAME_" + account], **options)


@contextlib.contextmanager
def listener(lab, name, **directives):
    with Listener(lab, name, **directives) as it:
        yield it


def der(path):
    """The first certificate of a PEM file as it is hashed."""
    return subprocess.run(["openssl", "x509", "-in", path, "-outform", "DER"], check=True,
                          stdout=subprocess.PIPE).stdout


def bindings(path):
    """Those of a client that was shown this certificate (signed with SHA-256)."""
    return negotiate.channel_bindings(der(path))
