"""Tickets with any PAC, made with the service's key as no KDC would, and what
Samba makes of a PAC."""

import ctypes
import os
import struct
import time

from samba.dcerpc import krb5pac, netlogon, samr, security
from samba.ndr import ndr_pack, ndr_unpack

from keeper_peers import der

REALM, CLIENT = "CONTOSO.TEST", "EXCH01$"
SERVICE = "HTTP/connector.contoso.test"
AES256, CHECKSUM_AES256 = 18, 16
USAGE_TICKET, USAGE_PAC = 2, 17  # RFC 4120 7.5.1, MS-PAC 2.8
LOGON_INFO, SERVER_SIGNATURE, KDC_SIGNATURE, CLIENT_INFO = 1, 6, 7, 10
ENABLED, DENY_ONLY, ON = 0x4, 0x10, 0x7
EXTRA_SIDS, RESOURCE_GROUPS = 0x20, 0x200


# --- what libkrb5 computes ---------------------------------------------------


class _Data(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_int32), ("length", ctypes.c_uint), ("data", ctypes.c_void_p)]


class _Key(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_int32), ("enctype", ctypes.c_int32),
                ("length", ctypes.c_uint), ("contents", ctypes.c_void_p)]


class _Checksum(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_int32), ("type", ctypes.c_int32),
                ("length", ctypes.c_uint), ("contents", ctypes.c_void_p)]


class _Encrypted(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_int32), ("enctype", ctypes.c_int32), ("kvno", ctypes.c_uint),
                ("cipher", _Data)]


class Crypto:
    """Encryption and checksums with one AES256 key."""

    def __init__(self, key):
        self._lib = ctypes.CDLL("libkrb5.so.3")
        self._context = ctypes.c_void_p()
        self._call("krb5_init_context", ctypes.byref(self._context))
        self._bytes = ctypes.create_string_buffer(key, len(key))
        self._key = _Key(0, AES256, len(key), ctypes.addressof(self._bytes))

    def _call(self, name, *arguments):
        code = getattr(self._lib, name)(*arguments)
        assert code == 0, f"{name}: {code}"

    @staticmethod
    def _data(memory, size):
        return _Data(0, size, ctypes.addressof(memory))

    def encrypt(self, usage, plain):
        size = ctypes.c_size_t()
        self._call("krb5_c_encrypt_length", self._context, AES256, ctypes.c_size_t(len(plain)),
                   ctypes.byref(size))
        source = ctypes.create_string_buffer(plain, len(plain))
        target = ctypes.create_string_buffer(size.value)
        out = _Encrypted(0, AES256, 0, self._data(target, size.value))
        self._call("krb5_c_encrypt", self._context, ctypes.byref(self._key), usage, None,
                   ctypes.byref(self._data(source, len(plain))), ctypes.byref(out))
        return target.raw[:out.cipher.length]

    def checksum(self, usage, data):
        source, out = ctypes.create_string_buffer(data, len(data)), _Checksum()
        self._call("krb5_c_make_checksum", self._context, CHECKSUM_AES256,
                   ctypes.byref(self._key), usage,
                   ctypes.byref(self._data(source, len(data))), ctypes.byref(out))
        value = ctypes.string_at(out.contents, out.length)
        self._lib.krb5_free_checksum_contents(self._context, ctypes.byref(out))
        return value


# --- a PAC -------------------------------------------------------------------


def pac(crypto, logon_info, authtime, client=CLIENT, good=True):
    """A PAC with this logon information (None: with none), signed by the
    service's key."""
    name = client.encode("utf-16-le")
    signature = struct.pack("<I", CHECKSUM_AES256) + bytes(12)
    buffers = [(CLIENT_INFO, struct.pack("<QH", (authtime + 11644473600) * 10**7, len(name))
                + name), (SERVER_SIGNATURE, signature), (KDC_SIGNATURE, signature)]
    if logon_info is not None:
        buffers.insert(0, (LOGON_INFO, logon_info))
    at = 8 + 16 * len(buffers)
    head, body, places = struct.pack("<II", len(buffers), 0), b"", {}
    for kind, data in buffers:
        places[kind] = at + len(body) + 4
        head += struct.pack("<IIQ", kind, len(data), at + len(body))
        body += data + bytes(-len(data) % 8)
    whole = bytearray(head + body)
    value = crypto.checksum(USAGE_PAC, bytes(whole))
    if not good:
        value = bytes((value[0] ^ 1,)) + value[1:]
    whole[places[SERVER_SIGNATURE]:places[SERVER_SIGNATURE] + 12] = value
    return bytes(whole)


# --- a ticket ------------------------------------------------------------------


def _integer(field, value):
    return der(0xa0 | field, der(2, value.to_bytes(value.bit_length() // 8 + 1, "big")))


def _text(field, value):
    return der(0xa0 | field, der(0x1b, value.encode()))


def _name(field, kind, value):
    parts = b"".join(der(0x1b, p.encode()) for p in value.split("/"))
    return der(0xa0 | field, der(0x30, _integer(0, kind), der(0xa1, der(0x30, parts))))


def _time(field, value):
    return der(0xa0 | field, der(0x18, time.strftime("%Y%m%d%H%M%SZ",
                                                      time.gmtime(value)).encode()))


def _octets(field, value):
    return der(0xa0 | field, der(4, value))


def _authdata(kind, value):
    return der(0x30, der(0x30, _integer(0, kind), _octets(1, value)))


def _encrypted(field, cipher, kvno):
    return der(0xa0 | field, der(0x30, _integer(0, AES256), _integer(1, kvno),
                                 _octets(2, cipher)))


class Forger:
    """A service's key, and tickets for it."""

    def __init__(self, directory):
        self.dir = str(directory)
        self.key = os.urandom(32)
        self.crypto = Crypto(self.key)
        self.keytab = f"{self.dir}/forged.keytab"
        self._write_keytab()

    def _write_keytab(self):
        counted = lambda text: struct.pack(">H", len(text)) + text.encode()
        parts = SERVICE.split("/")
        entry = struct.pack(">H", len(parts)) + counted(REALM) + b"".join(map(counted, parts))
        entry += struct.pack(">IIBHH", 1, 0, 1, AES256, len(self.key)) + self.key
        with open(self.keytab, "wb") as file:
            file.write(b"\5\2" + struct.pack(">i", len(entry)) + entry)

    def cache(self, logon_info, with_pac=True, good=True, pac_client=None, garbage=None,
              start=0, end=3600, client=CLIENT):
        """A credential cache of a client with a ticket for SERVICE; its name.
        garbage replaces the whole PAC.  start and end: seconds from now."""
        now, session = int(time.time()), os.urandom(32)
        data = b""
        if garbage is not None or with_pac:
            data = garbage if garbage is not None else \
                pac(self.crypto, logon_info, now, pac_client or client, good)
            data = der(0xaa, _authdata(1, _authdata(128, data)))
        part = der(0x63, der(
            0x30, der(0xa0, der(3, b"\0\0\x08\0\0")),  # transited policy checked
            der(0xa1, der(0x30, _integer(0, AES256), _octets(1, session))),
            _text(2, REALM), _name(3, 1, client),
            der(0xa4, der(0x30, _integer(0, 1), _octets(1, b""))),
            _time(5, now), _time(6, now + start), _time(7, now + end), data))
        ticket = der(0x61, der(0x30, _integer(0, 5), _text(1, REALM), _name(2, 2, SERVICE),
                               _encrypted(3, self.crypto.encrypt(USAGE_TICKET, part), 1)))
        return self._write_cache(client, session, ticket, now, now + start, now + end)

    def _write_cache(self, name, session, ticket, now, start, end):
        counted = lambda data: struct.pack(">I", len(data)) + data

        def principal(kind, name):
            parts = name.split("/")
            return struct.pack(">II", kind, len(parts)) + counted(REALM.encode()) + \
                b"".join(counted(p.encode()) for p in parts)
        client, server = principal(1, name), principal(2, SERVICE)
        path = f"{self.dir}/forged.cache"
        with open(path, "wb") as file:
            file.write(b"\5\4\0\0" + client + client + server
                       + struct.pack(">H", AES256) + counted(session)
                       + struct.pack(">IIII", now, start, end, 0) + b"\0"
                       + struct.pack(">III", 0x00080000, 0, 0) + counted(ticket) + counted(b""))
        return "FILE:" + path


# --- Samba's view --------------------------------------------------------------


def make(user=1103, primary=515, groups=(), extra=(), resource=(), flags=None, name=CLIENT,
         domain="S-1-5-21-1-2-3", resource_domain="S-1-5-21-1-2-3"):
    """Logon information as Samba encodes it.  groups and resource are pairs of
    RID and attributes, extra of SID and attributes."""
    def members(pairs):
        array = samr.RidWithAttributeArray()
        array.count = len(pairs)
        array.rids = [_filled(samr.RidWithAttribute(), rid=r, attributes=a) for r, a in pairs]
        return array

    info = krb5pac.PAC_LOGON_INFO()
    base = info.info3.base
    base.account_name.string, base.logon_domain.string = name, "CONTOSO"
    for text in ("full_name", "logon_script", "profile_path", "home_directory", "home_drive"):
        getattr(base, text).string = ""
    base.logon_server.string = "DC1"
    base.rid, base.primary_gid = user, primary
    base.domain_sid = security.dom_sid(domain)
    base.groups = members(groups)
    info.info3.sids = [_filled(netlogon.netr_SidAttr(), sid=security.dom_sid(s), attributes=a)
                       for s, a in extra]
    info.info3.sidcount = len(extra)
    if resource:
        info.resource_groups.domain_sid = security.dom_sid(resource_domain)
        info.resource_groups.groups = members(resource)
    if flags is None:
        flags = (EXTRA_SIDS if extra else 0) | (RESOURCE_GROUPS if resource else 0)
    base.user_flags = flags
    buffer = _filled(krb5pac.PAC_BUFFER(), type=LOGON_INFO,
                     info=_filled(krb5pac.PAC_LOGON_INFO_CTR(), info=info))
    whole = ndr_pack(_filled(krb5pac.PAC_DATA(), num_buffers=1, version=0, buffers=[buffer]))
    _, size, at = struct.unpack_from("<IIQ", whole, 8)
    return whole[at:at + size]


def _filled(value, **members):
    for name, member in members.items():
        setattr(value, name, member)
    return value


def expected(logon_info):
    """The SIDs that this logon information gives, as Samba reads it and MS-PAC
    2.5 means it: "user S-1-…" in our decoder's order."""
    # Samba reads whole PACs only: one with nothing else in it.
    whole = struct.pack("<IIIIQ", 1, 0, LOGON_INFO, len(logon_info), 24) + logon_info
    info = ndr_unpack(krb5pac.PAC_DATA, whole).buffers[0].info.info
    base, flags = info.info3.base, info.info3.base.user_flags
    listed = [("group", f"{base.domain_sid}-{g.rid}", g.attributes)
              for g in base.groups.rids or ()]
    if flags & EXTRA_SIDS:
        listed += [("extra", str(s.sid), s.attributes) for s in info.info3.sids or ()]
    if flags & RESOURCE_GROUPS:
        rest = info.resource_groups
        listed += [("resource", f"{rest.domain_sid}-{g.rid}", g.attributes)
                   for g in rest.groups.rids or ()]
    grants = lambda attributes: attributes & (ENABLED | DENY_ONLY) == ENABLED
    denied = {sid for _, sid, attributes in listed if not grants(attributes)}
    out, seen = [], set(denied)
    for source, sid in [("user", f"{base.domain_sid}-{base.rid}"),
                        ("primary-group", f"{base.domain_sid}-{base.primary_gid}")] + \
            [(source, sid) for source, sid, _ in listed]:
        if sid not in seen:
            seen.add(sid)
            out.append(f"{source} {sid}")
    return out
