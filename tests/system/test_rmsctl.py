"""rmsctl on a real connector: what the operator is told, and that it is so."""

import json
import os
import pty
import shlex
import signal
import subprocess
import termios

import pytest

from procs import wait_until

OK, REFUSED, USAGE, UNREACHABLE, WRONG = range(5)
NOBODY = "nobody$@LAB.TEST"


def ctl(lab, *arguments, env=None, **options):
    """Runs it; the result has stdout and stderr as text."""
    environment = dict(os.environ, **lab.env)
    environment.update(env or {})
    return subprocess.run(shlex.split(lab.env["RMSCTL"]) + list(arguments), env=environment,
                          capture_output=True, text=True, timeout=60, check=False,
                          stdin=options.pop("stdin", subprocess.DEVNULL)
                          if "input" not in options else None, **options)


def probe(lab, *arguments, url=None, **options):
    return ctl(lab, "probe", url or lab.url(), "--cacert", lab.env["CONNECTOR_CA"],
               *arguments, **options)


def ended(done, status, *texts):
    assert done.returncode == status, done
    for text in texts:
        assert text in done.stdout + done.stderr, done
    return done


# ---- probe -----------------------------------------------------------------

@pytest.mark.parametrize("tls", (True, False))
def test_probe_comes_to_the_end(lab, tls):
    done = ended(probe(lab, url=lab.url(tls)), OK, "server version 6.0.0.0",
                 lab.env["CLOUD_URL"], "exch01$@LAB.TEST has one for HTTP/localhost@LAB.TEST",
                 "Every step came out as it should")
    assert ("not secure" in done.stdout) is not tls


def test_probe_for_programs(lab):
    told = json.loads(ended(probe(lab, "--json"), OK).stdout)
    assert told["ok"] and told["first_failure"] is None
    assert told["tenant_url"] == lab.env["CLOUD_URL"]
    assert [s["name"] for s in told["steps"]][-1] == "AcquireTemplates"
    assert all(s["ok"] for s in told["steps"])


def test_probe_of_a_stranger(lab):
    done = ended(probe(lab, env={"KRB5CCNAME": lab.env["KRB5CCNAME_STRANGER"]}), WRONG,
                 "First failure: GetServerInfo", "RmsConnector.AUTH_DENIED", "rmsctl explain")
    request = done.stdout.split("request id: ")[1].strip()
    line = lab.wait_line("ACCESS_LOG", lambda l: l["request_id"] == request)
    assert line["end"] == "AUTH_DENIED" and line["account"] == "stranger$@LAB.TEST"


def test_probe_without_a_ticket(lab, tmp_path):
    ended(probe(lab, env={"KRB5CCNAME": f"FILE:{tmp_path}/none"}), WRONG,
          "no Kerberos ticket", "this server (the client)", "run kinit")


def test_probe_by_a_name_without_spn(lab):
    ended(probe(lab, url=lab.url().replace("localhost", "127.0.0.1")), WRONG,
          "Server HTTP/127.0.0.1@LAB.TEST not found in Kerberos database", "setspn")


def test_probe_without_a_kdc(lab, tmp_path):
    lab_kdc = os.path.dirname(lab.env["KRB5_CONFIG"])
    cache = f"FILE:{tmp_path}/cc"
    subprocess.run(["kinit", "-k", "-t", f"{lab_kdc}/accounts.keytab", "-c", cache,
                    "exch01$@LAB.TEST"], env=dict(os.environ, **lab.env), check=True)
    with open(lab.env["KRB5_CONFIG"], encoding="ascii") as file:
        text = file.read().replace(f":{lab.ports['kdc']}", ":9")
    (tmp_path / "krb5.conf").write_text(text)
    ended(probe(lab, env={"KRB5CCNAME": cache, "KRB5_CONFIG": f"{tmp_path}/krb5.conf"}), WRONG,
          "Cannot contact any KDC", "at fault:   the network")


def test_probe_of_an_unknown_issuer(lab):
    ended(ctl(lab, "probe", lab.url()), WRONG, "certificate is not trusted", "--cacert")


def test_probe_with_the_cloud_down(lab):
    lab.cloud(listening={"soap": False})
    try:
        ended(probe(lab), WRONG, "First failure: GetServerInfo", "RmsConnector.CLOUD_",
              "at fault:   the network")
    finally:
        lab.cloud(listening={"soap": True})
    ended(probe(lab), OK)


def test_probe_when_the_key_was_changed(private_lab):
    """The KDC has a new key for the service, the keytab has the old one."""
    lab = private_lab(workers=1)
    lab.kdc.admin("cpw -randkey HTTP/localhost\n")
    lab.kdc.kinit("exch01$", lab.ccache("exch01$"))
    ended(probe(lab), WRONG, "First failure: GET GetRmsoUri.aspx", "RmsConnector.AUTH_FAILED",
          "at fault:   the connector", "keytab")


def test_probe_of_no_connector(lab):
    ended(ctl(lab, "probe", "http://localhost:9"), WRONG, "nobody listens on port 9")
    ended(ctl(lab, "probe", "localhost"), USAGE, "give https://HOST")


# ---- status, servers, settings -----------------------------------------------

def test_status_tells_what_is_wrong(private_lab):
    lab = private_lab(servers=False, workers=1)
    ended(ctl(lab, "status"), WRONG, "no server is authorized (event 2003)")
    told = json.loads(ended(ctl(lab, "--json", "status"), WRONG).stdout)
    assert told["ok"] and told["table"]["entries"] == 0
    ended(ctl(lab, "servers", "add", "-r", "exchange", NOBODY), OK, "Microsoft asks for a group")
    ended(ctl(lab, "status"), OK, "Nothing is wrong.")


def test_a_server_from_adding_to_removing(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", "--note", "a test", "--expires", "2099-01-01",
              NOBODY), OK, f"{NOBODY} may use the connector with the role fci")
    try:
        ended(ctl(lab, "servers", "list"), OK, NOBODY, "2099-01-01T00:00:00", "a test")
        ended(ctl(lab, "servers", "add", "-r", "fci", NOBODY), REFUSED, "already")
        ended(ctl(lab, "explain", NOBODY), OK, "let in", "role fci", "decides")
    finally:
        ended(ctl(lab, "servers", "remove", NOBODY), OK, "its next request is refused")
    ended(ctl(lab, "servers", "remove", NOBODY), REFUSED)
    ended(ctl(lab, "explain", NOBODY), OK, "REFUSED")


def test_an_end_that_cannot_be_told(lab):
    ended(ctl(lab, "servers", "add", "-r", "fci", "--expires", "9999-12-31", NOBODY), REFUSED,
          "2553", "leave --expires out")
    try:
        ended(ctl(lab, "servers", "add", "-r", "fci", "--expires", "2553-12-31", NOBODY), OK)
        ended(ctl(lab, "servers", "list"), OK, "2553-12-31T00:00:00")
    finally:
        ended(ctl(lab, "servers", "remove", NOBODY), OK)


def test_settings(lab):
    assert ended(ctl(lab, "get", "cloud"), OK).stdout == "AzureCloud\n"
    ended(ctl(lab, "set", "cloud", "Moon"), REFUSED, "AzureCloud")
    ended(ctl(lab, "set", "clod", "x"), REFUSED, "cloud")
    ended(ctl(lab, "get", "clod"), REFUSED, "no setting")


def test_reload_names_the_lines(private_lab):
    lab = private_lab(workers=1)
    with open(lab.env["CONNECTOR_CONF"], "a", encoding="utf-8") as file:
        file.write("idle_timeout_ms = soon\n")
    ended(ctl(lab, "reload"), REFUSED, "rms-connector.conf:", "idle_timeout_ms")
    ended(probe(lab), OK)  # the old one is in force


# ---- secrets -----------------------------------------------------------------

def add_secret(lab, *arguments, **options):
    return ctl(lab, "credentials", "add", "spare", "--client-id", "spare-id", *arguments,
               **options)


def test_a_secret_by_every_way_and_nowhere_else(private_lab, tmp_path):
    lab = private_lab(workers=1)
    secret = "S3cr3t-of-this-test"
    path = tmp_path / "secret"
    path.write_text(secret + "\n")
    path.chmod(0o644)
    ended(add_secret(lab, "--secret-file", str(path)), USAGE, "chmod 600")
    path.chmod(0o600)
    ended(add_secret(lab, "--secret-file", str(path)), OK, "stored")
    ended(add_secret(lab, input=secret + "\n"), OK, "replaced")
    ended(add_secret(lab, f"--secret={secret}"), USAGE, "every user of this host")
    ended(ctl(lab, "credentials", "list"), OK, "spare-id")
    for directory, _, names in os.walk(lab.dir):
        for name in names:
            file = os.path.join(directory, name)
            if os.path.isfile(file):
                with open(file, "rb") as opened:
                    assert secret.encode() not in opened.read(), file


def test_a_secret_at_a_terminal(private_lab):
    lab = private_lab(workers=1)
    master, slave = pty.openpty()
    with subprocess.Popen(
            shlex.split(lab.env["RMSCTL"]) + ["credentials", "add", "typed", "--client-id", "i"],
            stdin=slave, stdout=slave, stderr=slave, env=dict(os.environ, **lab.env)) as process:
        os.close(slave)
        shown = b""
        while b"Client secret: " not in shown:
            shown += os.read(master, 1024)
        # the prompt comes before the echo goes: type when the terminal is quiet
        assert wait_until(lambda: not termios.tcgetattr(master)[3] & termios.ECHO, 5, 0.01)
        os.write(master, b"typed-secret\r")
        while b"stored" not in shown:
            shown += os.read(master, 1024)
        assert process.wait(10) == OK
    os.close(master)
    assert b"typed-secret" not in shown


# ---- events and the socket ---------------------------------------------------

def test_events_as_they_happen(lab):
    with subprocess.Popen(shlex.split(lab.env["RMSCTL"]) + ["events", "-f", "-n", "1", "--json"],
                          stdout=subprocess.PIPE, text=True,
                          env=dict(os.environ, **lab.env)) as process:
        try:
            json.loads(process.stdout.readline())  # of the past: from here on it follows
            ended(ctl(lab, "set", "tenant_id", "lab.test"), OK)
            event = json.loads(process.stdout.readline())
            assert event["id"] == 1103 and event["author"].startswith("uid ")
        finally:
            process.send_signal(signal.SIGINT)


def test_nobody_answers(lab, tmp_path):
    ended(ctl(lab, "-s", f"{tmp_path}/none.sock", "status"), UNREACHABLE,
          "is the connector running?")
