"""The lab's certificate authority and certificates, made with openssl."""

import os

from procs import run

_CONFIG = """[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""
EC = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")


def _key(path, kind):
    old = os.umask(0o077)
    try:
        run(["openssl", "genpkey", "-quiet", "-algorithm", *kind, "-out", path])
    except Exception:
        if os.path.exists(path):
            os.unlink(path)
        raise
    finally:
        os.umask(old)


def make_ca(directory):
    """ca.pem and ca.key in directory."""
    config = f"{directory}/ca.cnf"
    with open(config, "w", encoding="ascii") as file:
        file.write(_CONFIG.format(name="rms-connector lab CA (tests only)", names="DNS:lab.test"))
    _key(f"{directory}/ca.key", EC)
    run(["openssl", "req", "-new", "-x509", "-config", config, "-extensions", "ca",
         "-key", f"{directory}/ca.key", "-out", f"{directory}/ca.pem", "-days", "3650"])


def make_certificate(directory, stem, names, kind=RSA, days=365, digest="sha256"):
    """stem.pem (certificate, then the CA's) and stem.key; the first of names
    is the subject.  names are "DNS:…" or "IP:…"."""
    base, config = f"{directory}/{stem}", f"{directory}/{stem}.cnf"
    with open(config, "w", encoding="ascii") as file:
        file.write(_CONFIG.format(name=names[0].partition(":")[2], names=",".join(names)))
    _key(base + ".key", kind)
    run(["openssl", "req", "-new", "-config", config, "-key", base + ".key",
         "-out", base + ".csr"])
    run(["openssl", "x509", "-req", "-in", base + ".csr", "-CA", f"{directory}/ca.pem",
         "-CAkey", f"{directory}/ca.key", "-set_serial", f"0x{os.urandom(8).hex()}",
         f"-{digest}", "-days", str(days), "-extfile", config, "-extensions", "leaf", "-out", base + ".crt"])
    with open(base + ".pem", "w", encoding="ascii") as out:
        for path in (base + ".crt", f"{directory}/ca.pem"):
            with open(path, encoding="ascii") as file:
                out.write(file.read())
    for path in (base + ".crt", base + ".csr", config):
        os.unlink(path)
