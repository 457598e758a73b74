"""Web proxies for the tests: Debian's own, and one that a test scripts."""

import base64
import contextlib
import os
import pwd
import re
import select
import shutil
import socket
import ssl
import tempfile
import threading

from procs import LabError, Process, free_ports, wait_until


class RealProxy:
    """One of Debian's proxies, started with a configuration of ours."""

    def __init__(self, command, environment=None):
        self.dir = tempfile.mkdtemp(prefix="rms-proxy-", dir="/tmp")
        [self.port] = free_ports(1)
        self._own(self.dir)
        self.process = Process.start("proxy", command(self), os.path.join(self.dir, "out"),
                                     environment or dict(os.environ))
        self._own(os.path.join(self.dir, "out"))
        if not wait_until(self._answers, 20):
            text = self.process.tail(30)
            self.close()
            raise LabError(f"the proxy did not start:\n{text}")

    def _own(self, path):
        """Run by root, a proxy becomes the account `proxy` or `nobody`."""
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self.account)
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def _answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return not self.process.is_alive()

    def log(self):
        with open(os.path.join(self.dir, "access.log"), encoding="ascii", errors="replace") as f:
            return f.read()

    def close(self):
        if self.process.is_alive():
            self.process.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Squid(RealProxy):
    """squid; tls is (certificate, key), users {name: password}."""

    account = "proxy"

    def __init__(self, hosts, tls=None, users=None):
        self.hosts, self.tls, self.users = hosts, tls, users
        super().__init__(self._command)

    def _command(self, _):
        port = f"http_port 127.0.0.1:{self.port}"
        if self.tls:
            port = f"https_port 127.0.0.1:{self.port} tls-cert={self.tls[0]} tls-key={self.tls[1]}"
        auth = ""
        if self.users:
            import subprocess
            lines = "".join(
                name + ":" + subprocess.run(["openssl", "passwd", "-apr1", word], check=True,
                                            stdout=subprocess.PIPE, text=True).stdout
                for name, word in self.users.items())
            words = self.write("users", lines)
            auth = (f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {words}\n"
                    "auth_param basic children 1\nacl known proxy_auth REQUIRED\n"
                    "http_access deny !known\n")
        hosts = self.write("hosts", "".join(f"{a} {n}\n" for n, a in self.hosts.items()))
        conf = self.write("squid.conf", f"""{port}
{auth}http_access allow all
hosts_file {hosts}
cache deny all
access_log stdio:{self.dir}/access.log
cache_log {self.dir}/cache.log
cache_store_log none
pid_filename none
coredump_dir {self.dir}
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
visible_hostname proxy.lab.test
""")
        return ["squid", "-N", "-f", conf]


class Tinyproxy(RealProxy):
    """tinyproxy, which asks the system for names; users {name: password}."""

    account = "nobody"

    def __init__(self, users=None):
        self.users = users
        super().__init__(self._command)

    def _command(self, _):
        auth = "".join(f"BasicAuth {n} {w}\n" for n, w in (self.users or {}).items())
        conf = self.write("tinyproxy.conf", f"Port {self.port}\nListen 127.0.0.1\nTimeout 60\n"
                          f'LogFile "{self.dir}/access.log"\nLogLevel Connect\n{auth}')
        return ["tinyproxy", "-d", "-c", conf]


class ScriptedProxy:
    """A proxy that does as serve(proxy, socket, head) says after the head of a
    request was read; head None: serve reads by itself.  It notes every head in
    `heads` and every tunnel in `tunnels`."""

    def __init__(self, serve=None, tls=None, names=None, read=True, address="127.0.0.1",
                 port=0):
        self.serve, self.read = serve or ScriptedProxy.tunnel, read
        self.names = names or {}
        self.heads, self.tunnels, self.sockets = [], [], []
        self.connections, self.open = 0, True
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, port), family=family)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open = False
        for sock in [self.listener] + self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self):
        while self.open:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.sockets.append(sock)
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock):
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
                self.sockets.append(sock)
            head = self.read_head(sock) if self.read else None
            self.serve(self, sock, head)
        except (OSError, ValueError):
            pass
        finally:
            sock.close()

    def read_head(self, sock):
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                raise OSError("closed in the head")
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        assert rest == b"", "bytes behind CONNECT"
        self.heads.append(head.decode("ascii"))
        return self.heads[-1]

    def target(self, head):
        match = re.match(r"CONNECT (\S+):(\d+) HTTP/1\.1\r\nHost: (\S+)\r\n", head)
        assert match and match[3] == f"{match[1]}:{match[2]}", head
        return match[1], int(match[2])

    def connect(self, head):
        host, port = self.target(head)
        self.tunnels.append((host, port))
        there = socket.create_connection((self.names.get(host, host.strip("[]")), port), 5)
        self.sockets.append(there)
        return there

    def pump(self, here, there):
        """Both ways until both have ended."""
        other, left = {here: there, there: here}, {here, there}
        while left:
            ready = [s for s in left if isinstance(s, ssl.SSLSocket) and s.pending()] or \
                select.select(list(left), [], [], 60)[0]
            for sock in ready:
                data = sock.recv(65536)
                if data:
                    other[sock].sendall(data)
                    continue
                left.discard(sock)
                with contextlib.suppress(OSError):
                    other[sock].shutdown(socket.SHUT_WR)
                    if isinstance(other[sock], ssl.SSLSocket):
                        return

    def tunnel(self, sock, head):
        """What a good proxy does."""
        there = self.connect(head)
        sock.sendall(self.answer)
        self.pump(sock, there)

    @staticmethod
    def says(data, then="close"):
        """serve() that answers so, then closes, stalls or reads on."""
        def serve(proxy, sock, _head):
            sock.sendall(data)
            if then == "close":
                return
            while sock.recv(65536):
                pass
        return serve


def basic(head):
    """User and password of a head, or None."""
    match = re.search(r"\r\nProxy-Authorization: Basic (\S+)(\r\n|\Z)", head)
    return base64.b64decode(match[1]).decode() if match else None
