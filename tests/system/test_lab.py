"""The lab's own parts: Kerberos without the connector, `lab` as a command."""

import os
import signal
import socket
import stat
import subprocess
import sys

import gssapi
import pytest

import labctl
import negotiate
import procs

LAB = os.path.join(labctl.HERE, "lab")


def accept(lab, token, keytab=None):
    """What an acceptor with the lab's keytab makes of a token: the context."""
    store = {b"keytab": (keytab or lab.env["KEYTAB"]).encode()}
    credentials = gssapi.raw.acquire_cred_from(store, usage="accept").creds
    context = gssapi.SecurityContext(creds=gssapi.Credentials(credentials), usage="accept")
    return context, context.step(token)


@pytest.mark.parametrize("host", ["localhost", "connector.lab.test"])
@pytest.mark.parametrize("account", labctl.ACCOUNTS, ids=lambda a: a[0])
def test_accounts_have_tickets_that_the_keytab_opens(cloud_lab, host, account):
    client = negotiate.Negotiate(host, cloud_lab.env["KRB5CCNAME_" + account[2]])
    context, answer = accept(cloud_lab, client.token())
    assert context.complete and str(context.initiator_name) == f"{account[0]}@LAB.TEST"
    assert client.token(answer) is None
    assert client._context.complete


def test_no_ticket_for_an_unknown_service(cloud_lab):
    with pytest.raises(gssapi.exceptions.GSSError, match="not found"):
        negotiate.Negotiate("nowhere.lab.test", cloud_lab.env["KRB5CCNAME"]).token()


def test_secrets_are_closed_to_others(cloud_lab):
    for name in ("krb5/service.keytab", "krb5/accounts.keytab", "sealing.key", "client.secret",
                 "apps.json", "tls/ca.key", "tls/connector.key", "tls/cloud.key", "cc/exch01"):
        mode = stat.S_IMODE(os.stat(cloud_lab.path(name)).st_mode)
        assert mode & 0o077 == 0, f"{name} has mode {mode:o}"


def test_certificates(cloud_lab):
    text = procs.run(["openssl", "x509", "-noout", "-text", "-in",
                      cloud_lab.path("tls/connector.pem")])
    assert "DNS:localhost, DNS:connector.lab.test, IP Address:127.0.0.1" in text
    assert "Public-Key: (2048 bit)" in text
    procs.run(["openssl", "verify", "-x509_strict", "-CAfile", cloud_lab.env["CONNECTOR_CA"],
               cloud_lab.path("tls/connector.pem")])


def lab_command(*arguments, **options):
    return subprocess.run([LAB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=60, **options)


def running(directory):
    """Processes whose command line names the directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if str(directory).encode() in file.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_up_twice_down_twice(tmp_path):
    where = str(tmp_path / "lab")
    for _ in range(2):  # the second replaces the first
        result = lab_command("up", where, "--no-connector")
        assert result.returncode == 0, result.stdout
    shell = subprocess.run(
        ["sh", "-c", f". '{where}/env' && klist -s && kill -0 $KDC_PID $CLOUD_PID "
         "&& curl -sf $CLOUD_CONTROL"], stdout=subprocess.PIPE, check=False)
    assert shell.returncode == 0 and b'"violation_count": 0' in shell.stdout
    assert lab_command("env", where).stdout.count("export ") > 20
    for _ in range(2):
        assert lab_command("down", where).returncode == 0
    assert not running(where)
    assert lab_command("env", where).returncode == 1


def test_never_deletes_what_is_not_a_lab(tmp_path):
    (tmp_path / "precious").write_text("x")
    result = lab_command("up", str(tmp_path), "--no-connector")
    assert result.returncode == 1 and "other files" in result.stdout
    assert (tmp_path / "precious").exists()


def test_failure_tells_why_and_leaves_nothing(tmp_path):
    where = str(tmp_path / "lab")
    result = lab_command("up", where, env=dict(os.environ, BUILD=str(tmp_path)))
    assert result.returncode == 1 and "rms-connectord is not there" in result.stdout
    assert not running(where)
    result = lab_command("up", where, "--cloud-ca", "/nowhere", "--no-connector")
    assert result.returncode == 1 and "/nowhere" in result.stdout
    assert not running(where)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_up_leaves_nothing(tmp_path, number):
    where = tmp_path / "lab"
    with subprocess.Popen([sys.executable, LAB, "up", str(where), "--no-connector"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert procs.wait_until(lambda: (where / "lab.json").exists(), 20)
        process.send_signal(number)
        assert process.wait(30) in (130, 143)
    assert not running(where)


def test_stop_spares_a_stranger_with_the_same_pid(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            other = procs.Process("old", sleeper.pid, procs.start_time(sleeper.pid) - 1, "")
            other.stop()
            assert procs.stop_orphans([other]) == []
            assert sleeper.poll() is None
        finally:
            sleeper.kill()


def test_who_is_seen_to_have_ended_has_a_status(tmp_path):
    """However close to its end one looks."""
    for _ in range(100):
        child = procs.Process.start("child", ["sh", "-c", "exit 3"], str(tmp_path / "log"),
                                    dict(os.environ))
        while child.is_alive():
            pass
        assert child.popen.returncode == 3


def test_free_ports_are_no_connections_own():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    ports = procs.free_ports(20)
    assert len(set(ports)) == 20 and not any(low <= p <= high for p in ports)
    with socket.create_server(("127.0.0.1", ports[0])):
        assert not procs._is_free("127.0.0.1", ports[0])
    assert procs._is_free("127.0.0.1", ports[0])


def test_what_a_killed_process_leaves_is_stopped(tmp_path):
    parent = procs.Process.start("parent", ["sh", "-c", "sleep 60 & wait"],
                                 str(tmp_path / "log"), dict(os.environ))
    members = lambda: [int(p) for p in os.listdir("/proc") if p.isdigit() and
                       (procs._stat(p) or [0] * 4)[3] == str(parent.pid)]
    assert procs.wait_until(lambda: len(members()) == 2, 5)
    parent.signal(signal.SIGKILL)
    assert procs.wait_until(lambda: not parent.is_alive(), 5)
    assert len(procs.stop_orphans([parent])) == 1
    assert not members()


def test_long_directory_gets_a_short_socket(cloud_lab, tmp_path):
    lab = labctl.Lab(tmp_path / ("x" * 90))
    os.makedirs(lab.dir)
    path = lab._control_socket()
    assert len(path) <= labctl.SOCKET_PATH_MAX
    assert os.path.realpath(path) == lab.path("control.sock")
    lab.down()
    assert not os.path.exists(os.path.dirname(lab.link))


def test_extra_configuration_replaces(cloud_lab):
    lab = labctl.Lab(cloud_lab.dir)
    lab.kdc, lab.ports, lab.env = cloud_lab.kdc, cloud_lab.ports, cloud_lab.env
    lab._write_conf(1, 'workers = 3\nlistener more {\n\tport = 9\n}\nidle_timeout_ms = "1s"',
                    None, None)
    text = open(lab.path("rms-connector.conf"), encoding="utf-8").read()
    assert text.count("workers") == 1 and "workers = 3\n" in text
    assert "listener more {\n\tport = 9\n}\n" in text and 'idle_timeout_ms = "1s"\n' in text
