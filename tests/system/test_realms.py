"""Accounts of several realms: by a direct trust, through a realm between, and
not at all.  Three KDCs; tests/system/test_ad.py has the AD beside them."""

import contextlib
import json
import os

import pytest

import kdc as kdc_module
import negotiate
from procs import free_ports, port_lock
from relay_peers import ask, field, own_error

FAR, MID, LAB = "FAR.TEST", "MID.TEST", "LAB.TEST"
ACCOUNT = f"far01$@{FAR}"
CAPATHS = f"[capaths]\n {FAR} = {{\n  {LAB} = {MID}\n }}\n"


class Realms:
    """A lab whose KDC leaves the judgement of the way to the service, a realm
    that trusts it, and one behind that."""

    def __init__(self, lab, directory):
        self.lab, self.dir = lab, str(directory)
        self.processes = []
        with open(f"{lab.kdc.directory}/kdc.conf", encoding="ascii") as file:
            text = file.read()
        with open(f"{lab.kdc.directory}/kdc.conf", "w", encoding="ascii") as file:
            file.write(text.replace("  max_life", "  reject_bad_transit = false\n  max_life"))
        old = lab.process("krb5kdc")
        assert old.stop()
        lab.processes.remove(old)
        lab.processes.append(lab.kdc.start())
        with port_lock():
            ports = free_ports(2)
            self.far, self.mid = (kdc_module.Kdc(f"{self.dir}/{realm}", port, realm)
                                  for realm, port in zip((FAR, MID), ports))
            self.far.create(["far01$"], ["host/far"])
            self.mid.create(["mid01$"], ["host/mid"])
            self.processes = [self.far.start(), self.mid.start()]
        self.trust(self.far, self.mid)
        self.trust(self.mid, lab.kdc)

    @staticmethod
    def trust(of, other):
        """Accounts of a realm get tickets of another."""
        line = f"addprinc -pw trust krbtgt/{other.realm}@{of.realm}\n"
        of.admin(line)
        other.admin(line)

    def config(self, name, home, capaths, localhost=LAB):
        """A krb5.conf that knows all three; its path."""
        realms = "".join(f" {k.realm} = {{\n  kdc = 127.0.0.1:{k.port}\n }}\n"
                         for k in (self.far, self.mid, self.lab.kdc))
        with open(self.far.config, encoding="ascii") as file:
            head = file.read().partition("[realms]")[0]
        path = f"{self.dir}/{name}.conf"
        with open(path, "w", encoding="ascii") as file:
            file.write(head.replace(f"default_realm = {FAR}", f"default_realm = {home}")
                       + f"[realms]\n{realms}[domain_realm]\n localhost = {localhost}\n" + capaths)
        return path

    def ticket(self, kdc, account, localhost=LAB):
        """An Authorization field of an account that goes the whole way."""
        path = self.config("client", kdc.realm, CAPATHS, localhost)
        kdc.kinit(account, f"{self.dir}/cc")
        old = os.environ["KRB5_CONFIG"]
        os.environ["KRB5_CONFIG"] = path
        try:
            return field(negotiate.Negotiate("localhost", f"FILE:{self.dir}/cc").token())
        finally:
            os.environ["KRB5_CONFIG"] = old

    def stop(self):
        for process in self.processes:
            process.stop()


@pytest.fixture
def realms(private_lab, tmp_path):
    made = Realms(private_lab(), tmp_path)
    yield made
    made.stop()


@contextlib.contextmanager
def on_the_list(lab, subject, role="sharepoint"):
    lab.rmsctl("servers", "add", "--role", role, subject)
    try:
        yield
    finally:
        lab.rmsctl("servers", "remove", subject)


def test_ways_between_realms(realms):
    lab = realms.lab
    with on_the_list(lab, f"mid01$@{MID}"), on_the_list(lab, ACCOUNT):
        # A direct trust needs nothing here.
        with lab.client() as client:
            reply = ask(client, realms.ticket(realms.mid, "mid01$"))
            assert reply.status == 200
            line = lab.access(reply)
            assert (line["account"], line["role"]) == (f"mid01$@{MID}", "sharepoint")
        # A way through another realm has to be in our krb5.conf.
        with lab.client() as client:
            reply = ask(client, realms.ticket(realms.far, "far01$"))
            assert "realm is not trusted" in own_error(reply, 401, "AUTH_FAILED")
            told = lab.event(2000, request_id=reply.get("X-RMS-Request-Id"))
            assert "(wrong-realm)" in told["reason"] and "krb5.conf" in told["reason"]
        with open(lab.kdc.config, "a", encoding="ascii") as file:
            file.write(CAPATHS)
        lab.rmsctl("reload")
        lab.wait_ready()
        with lab.client() as client:
            reply = ask(client, realms.ticket(realms.far, "far01$"))
            assert reply.status == 200, lab.new("EVENT_LOG")[-3:]
            assert lab.access(reply)["account"] == ACCOUNT
        # Of a namesake in another realm the entry says nothing.
        assert lab.rmsctl_json("explain", f"far01$@{MID}")["verdict"] == "no_match"
    # Off the list, off the connector.
    with lab.client() as client:
        own_error(ask(client, realms.ticket(realms.far, "far01$")), 403, "AUTH_DENIED")


def test_keytab_of_several_realms(realms):
    """Each realm's KDC is asked for its own names, by a key of its own."""
    lab = realms.lab
    realms.far.add(["HTTP/localhost"], "both.keytab")
    with open(lab.env["KEYTAB"], "rb") as file:
        data = file.read()
    with open(f"{realms.far.directory}/both.keytab", "rb") as file:
        data += file.read()[2:]
    with open(lab.env["KEYTAB"], "wb") as file:
        file.write(data)
    lab.event(1105, seconds=10)
    environment = {n: v for n, v in os.environ.items() if not n.startswith("KRB5")}
    environment["KRB5CCNAME"] = f"FILE:{realms.dir}/no.cache"
    environment["KRB5_CONFIG"] = realms.config("rmsctl", LAB, "")
    result = lab.rmsctl("--json", "keytab", env=environment)
    facts = json.loads(result.stdout)
    assert not facts["problems"], facts
    assert {r["realm"]: r["asked_as"] for r in facts["realms"]} == {
        LAB: f"HTTP/localhost@{LAB}", FAR: f"HTTP/localhost@{FAR}"}
    issued = {i["principal"] for i in facts["issued"]}
    assert {f"HTTP/localhost@{LAB}", f"HTTP/localhost@{FAR}"} <= issued
    # Each name lets in the accounts that its realm knows.
    with on_the_list(lab, ACCOUNT), lab.client() as client:
        reply = ask(client, realms.ticket(realms.far, "far01$", localhost=FAR))
        assert reply.status == 200 and lab.access(reply)["account"] == ACCOUNT
