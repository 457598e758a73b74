"""An HTTP proxy that carries the requests of all its clients on the connections
that it has (haproxy, http-reuse always): what an account must not stay with."""

import os
import socket

from kdc import SBIN
from procs import LabError, Process, free_ports, port_lock, wait_until

_CONF = """global
 nbthread 1
defaults
 mode http
 timeout connect 5s
 timeout client 30s
 timeout server 30s
 http-reuse always
frontend clients
 bind 127.0.0.1:{port}
 default_backend connector
backend connector
 {options}
 server connector 127.0.0.1:{behind} pool-purge-delay 60s {tls}
"""


class SharingProxy:
    """In front of a port of the connector; shows: the sign that it gives of
    itself, "" none."""

    def __init__(self, directory, behind, tls, shows):
        self.conf = os.path.join(directory, "haproxy.conf")
        options = {"": "", "X-Forwarded-For": "option forwardfor",
                   "Via": 'http-request set-header Via "1.1 proxy"',
                   "Forwarded": 'http-request set-header Forwarded "for=%[src]"'}[shows]
        with port_lock():
            [self.port] = free_ports(1)
            with open(self.conf, "w", encoding="ascii") as file:
                file.write(_CONF.format(port=self.port, behind=behind, options=options,
                                        tls="ssl verify none" if tls else ""))
            self.process = Process.start("haproxy", ["haproxy", "-db", "-f", self.conf],
                                         self.conf + ".out", dict(os.environ, PATH=SBIN))
            if not wait_until(self._listens, 10):
                self.process.stop()
                raise LabError(f"haproxy did not start:\n{self.process.tail()}")

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.stop()
