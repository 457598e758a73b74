"""HAProxy in front of a listener, working on HTTP and reusing its connections
to us for whoever comes next."""

from front_peers import Front

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


class Haproxy(Front):
    """A way: (listener, how it shows itself (SHOWS), certificate it shows us or
    None, certificate of its own or None)."""

    NAME = "haproxy"

    def command(self):
        text = _CONFIG
        for name, (it, shows, shown, ends) in self.ways.items():
            tls = ""
            if it.directives.get("tls"):
                tls = (f" ssl ca-file {self.lab.env['CONNECTOR_CA']} verify required"
                       f" verifyhost localhost{f' crt {shown}' if shown else ''}")
            text += _PROXY.format(name=name, port=self.ports[name], shows=SHOWS[shows],
                                  to=it.directives["port"], tls=tls,
                                  bind=f" ssl crt {ends}" if ends else "")
        return ["/usr/sbin/haproxy", "-db", "-f", self.write("haproxy.cfg", text)]
