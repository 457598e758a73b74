"""What the tests of the processes use: servers that keep asking, memory to
search, keys to search for."""

import os
import re
import resource
import struct
import subprocess
import threading

import soap
from relay_peers import NAME, ask

CHUNK = 1 << 22


class Load:
    """Clients that ask without a pause; what became of each request."""

    def __init__(self, lab, clients, account="EXCHANGE"):
        self.lab, self.account, self.stop = lab, account, threading.Event()
        self.done = []      # (client, status, request id) of every reply
        self.failed = []    # (client, what it had been told last, error)
        self.wrong = []     # what no client must see: errors without a cause
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def _run(self, number):
        body, last, server = soap.acquire_license(f"user{number}@lab.test"), None, None
        while not self.stop.is_set():
            try:
                if server is None:
                    server = self.lab.server(self.account)
                    reply = server.call(NAME, body)
                else:
                    reply = ask(server, body=body)
                last = reply.get("X-RMS-Request-Id")
                self.done.append((number, reply.status, last))
            except (OSError, soap.BadReply) as error:
                self.failed.append((number, last, error))
                server.close()
                server = None
            except Exception as error:  # pylint: disable=broad-except
                self.wrong.append(error)
                return
        if server is not None:
            server.close()


# ---- memory --------------------------------------------------------------------

def found(pid, needles):
    """Which of the needles {name: bytes} are in a process's memory."""
    left, overlap = dict(needles), max(len(n) for n in needles.values())
    hits = set()
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not match or "[v" in line:  # vvar, vsyscall: the kernel's
                continue
            at, end, tail = int(match[1], 16), int(match[2], 16), b""
            while at < end and left:
                try:
                    memory.seek(at)
                    data = memory.read(min(CHUNK, end - at))
                except OSError:  # this page cannot be read, another may
                    at, tail = at + resource.getpagesize(), b""
                    continue
                at += len(data)
                if not data:
                    break
                window = tail + data
                for name in [n for n, v in left.items() if v in window]:
                    hits.add(name)
                    del left[name]
                tail = window[-overlap:]
    return hits


def keytab_keys(path):
    """The keys in a keytab, by principal and version."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:2] == b"\5\2"
    at, keys = 2, {}
    while at + 4 <= len(data):
        size = struct.unpack(">i", data[at:at + 4])[0]
        at += 4
        entry, at = data[at:at + abs(size)], at + abs(size)
        if size <= 0:
            continue
        count, pos, parts = struct.unpack(">H", entry[:2])[0], 2, []
        for _ in range(count + 1):  # the realm first
            length = struct.unpack(">H", entry[pos:pos + 2])[0]
            parts.append(entry[pos + 2:pos + 2 + length].decode())
            pos += 2 + length
        kvno, _, length = struct.unpack(">BHH", entry[pos + 8:pos + 13])
        keys[f"{'/'.join(parts[1:])} {kvno}"] = entry[pos + 13:pos + 13 + length]
        assert len(keys[f"{'/'.join(parts[1:])} {kvno}"]) == length >= 16
    return keys


def rsa_secrets(path):
    """Private numbers of an RSA key in both byte orders."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    out = {}
    for name in ("privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"):
        digits = re.search(name + r":\n((?:\s+[0-9a-f:]+\n)+)", text)[1]
        number = bytes.fromhex(re.sub(r"[\s:]", "", digits)).lstrip(b"\0")
        assert len(number) >= 120
        # Half of it is enough: it may stand there in parts.
        out[name] = number[:len(number) // 2]
        out[name + " reversed"] = number[::-1][:len(number) // 2]
    return out


def ec_secrets(path):
    """The private number of a key on P-256 in both byte orders."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    digits = re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)", text)[1]
    number = bytes.fromhex(re.sub(r"[\s:]", "", digits)).rjust(32, b"\0")
    assert len(number) == 32
    return {"ec": number, "ec reversed": number[::-1]}


def proc_status(pid):
    """Fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def open_files(pid):
    """What its descriptors are, by number."""
    directory = f"/proc/{pid}/fd"
    return {int(n): os.readlink(f"{directory}/{n}") for n in os.listdir(directory)}
