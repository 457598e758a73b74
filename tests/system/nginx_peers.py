"""nginx in front of a listener: it says nothing of itself, and sends whatever
comes over the one connection to us that it has, also after our 401."""

from front_peers import Front

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


class Nginx(Front):
    """A way: (port of the listener, whether it speaks TLS, certificate shown to
    us or None, certificate of its own or None)."""

    NAME = "nginx"

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

    def command(self):
        text = _CONFIG.format(dir=self.lab.dir, ways="".join(map(self._way, self.ways)))
        return ["/usr/sbin/nginx", "-p", self.lab.dir, "-c", self.write("nginx.conf", text)]
