"""HAProxy in front of a listener, working on HTTP and reusing its connections
to us for whoever comes next."""

import socket
import subprocess

from procs import free_ports, port_lock, wait_until

_CONFIG = """global
	nbthread 1
defaults
	mode http
	http-reuse always
	option http-keep-alive
	timeout connect 5s
	timeout client 1m
	timeout server 1m
"""
_PROXY = """frontend {name}
	bind 127.0.0.1:{port}{bind}
	default_backend {name}
backend {name}
	{shows}
	server connector 127.0.0.1:{to}{tls} pool-purge-delay 60s
"""
SHOWS = {"forwardfor": "option forwardfor", "via": 'http-request set-header Via "1.1 haproxy"',
         "hidden": ""}


class Haproxy:
    """One process with a way to each listener; use with `with`.

    ways: {name: (listener, how it shows itself (SHOWS), certificate it shows
    us or None, certificate it ends its clients' TLS with or None)}."""

    def __init__(self, lab, ways):
        self.lab, self.ways, self.ports = lab, ways, {}

    def __enter__(self):
        self.log = open(self.lab.path("log/haproxy.log"), "ab")
        with port_lock():
            self.ports = dict(zip(self.ways, free_ports(len(self.ways))))
            text = _CONFIG
            for name, (it, shows, shown, ends) in self.ways.items():
                tls = ""
                if it.directives.get("tls"):
                    tls = (f" ssl ca-file {self.lab.env['CONNECTOR_CA']} verify required"
                           f" verifyhost localhost{f' crt {shown}' if shown else ''}")
                text += _PROXY.format(name=name, port=self.ports[name], shows=SHOWS[shows],
                                      to=it.directives["port"], tls=tls,
                                      bind=f" ssl crt {ends}" if ends else "")
            path = self.lab.path("haproxy.cfg")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            self.process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", path],
                                            stdin=subprocess.DEVNULL, stdout=self.log,
                                            stderr=self.log)
            assert wait_until(self._listens, 10), open(self.log.name, encoding="utf-8").read()
        return self

    def _listens(self):
        assert self.process.poll() is None, open(self.log.name, encoding="utf-8").read()
        for port in self.ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(15)
        self.log.close()

    def url(self, name):
        return f"http{'s' if self.ways[name][3] else ''}://localhost:{self.ports[name]}"
