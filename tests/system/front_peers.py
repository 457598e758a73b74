"""What the programs that stand in front of a listener have in common."""

import socket
import subprocess

from procs import free_ports, port_lock, wait_until


class Front:
    """One process with a way to each listener; use with `with`.

    ways: {name: (..., certificate and key in one file that its clients' TLS is
    ended with, or None)}; what else is in a way, its kind says.  A kind has a
    NAME and command(), which writes the configuration, too."""

    NAME = ""

    def __init__(self, lab, ways):
        self.lab, self.ways, self.ports = lab, ways, {}
        self.log = self.process = None

    def command(self):
        raise NotImplementedError

    def write(self, name, text):
        """A file of the lab with this text; its path."""
        path = self.lab.path(name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def __enter__(self):
        self.log = open(self.lab.path(f"log/{self.NAME}.out"), "ab")
        with port_lock():
            self.ports = dict(zip(self.ways, free_ports(len(self.ways))))
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                            stdout=self.log, stderr=self.log)
            try:
                assert wait_until(self._listens, 10), self._said()
            except BaseException:
                self.__exit__()
                raise
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
        return f"http{'s' if self.ways[name][-1] else ''}://localhost:{self.ports[name]}"
