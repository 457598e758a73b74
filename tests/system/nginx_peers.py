"""nginx in front of a listener: it says nothing of itself, and sends whatever
comes over the one connection to us that it has, also after our 401."""

import socket
import subprocess

from procs import free_ports, port_lock, wait_until

_CONFIG = """daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/log/nginx.log warn;
events {{ }}
http {{
	access_log off;
	client_body_temp_path {dir}/nginx-body;
	proxy_temp_path {dir}/nginx-proxy;
	fastcgi_temp_path {dir}/nginx-fastcgi;
	uwsgi_temp_path {dir}/nginx-uwsgi;
	scgi_temp_path {dir}/nginx-scgi;
	large_client_header_buffers 4 96k;
	{ways}
}}
"""
_WAY = """
	upstream {name} {{ server 127.0.0.1:{to}; keepalive 1; }}
	server {{
		listen 127.0.0.1:{port}{ends};
		location / {{
			proxy_pass {scheme}://{name};
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			{tls}
		}}
	}}"""


class Nginx:
    """One process with a way to each listener; use with `with`.

    ways: {name: (port of the listener, whether it speaks TLS, certificate shown
    to us or None, certificate that its clients' TLS is ended with or None)},
    certificates with their keys in the same file."""

    def __init__(self, lab, ways):
        self.lab, self.ways, self.ports = lab, ways, {}

    def _way(self, name):
        port, tls, shown, ends = self.ways[name]
        pair = lambda word, pem: f"{word} {pem};\n\t\t\t{word}_key {pem};"
        lines = ""
        if tls:
            lines = (f"proxy_ssl_trusted_certificate {self.lab.env['CONNECTOR_CA']};"
                     " proxy_ssl_verify on; proxy_ssl_name localhost;")
        if shown:
            lines += "\n\t\t\t" + pair("proxy_ssl_certificate", shown)
        ends = f" ssl;\n\t\t{pair('ssl_certificate', ends)[:-1]}" if ends else ""
        return _WAY.format(name=name, to=port, port=self.ports[name], ends=ends, tls=lines,
                           scheme="https" if tls else "http")

    def __enter__(self):
        self.log = open(self.lab.path("log/nginx.out"), "ab")
        with port_lock():
            self.ports = dict(zip(self.ways, free_ports(len(self.ways))))
            path = self.lab.path("nginx.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(_CONFIG.format(dir=self.lab.dir, ways="".join(map(self._way, self.ways))))
            self.process = subprocess.Popen(["/usr/sbin/nginx", "-p", self.lab.dir, "-c", path],
                                            stdin=subprocess.DEVNULL, stdout=self.log,
                                            stderr=self.log)
            assert wait_until(self._listens, 10), self._said()
        return self

    def _said(self):
        with open(self.log.name, encoding="utf-8") as file:
            return file.read()

    def _listens(self):
        assert self.process.poll() is None, self._said()
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
