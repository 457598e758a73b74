"""Certificate authorities for clients, with revocation, made with openssl."""

import datetime
import os
import ssl
import subprocess

_CONFIG = """[req]
distinguished_name = dn
prompt = no
utf8 = yes
string_mask = utf8only
[dn]
CN = nobody
[ca]
default_ca = own
[own]
database = {dir}/index.txt
crlnumber = {dir}/crlnumber
new_certs_dir = {dir}
certificate = {dir}/ca.pem
private_key = {dir}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
email_in_dn = yes
rand_serial = yes
[any]
organizationName = optional
commonName = optional
[issuer]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
[plain]
basicConstraints = critical,CA:FALSE
"""


def openssl(*argv, **options):
    done = subprocess.run(["openssl", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    assert done.returncode == 0, (argv, done.stdout.decode(errors="replace"))
    return done.stdout


def when(seconds):
    """So many seconds from now, as openssl takes it."""
    time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return time.strftime("%Y%m%d%H%M%SZ")


class Authority:
    """Issues into its own directory; pem is its certificate.  by: the one
    that issued this one, else it is its own."""

    def __init__(self, directory, name, by=None):
        self.dir, self.name = str(directory), name
        os.makedirs(self.dir)
        self.config, self.pem = f"{self.dir}/ca.cnf", f"{self.dir}/ca.pem"
        for file, text in (("ca.cnf", _CONFIG.format(dir=self.dir)), ("index.txt", ""),
                           ("crlnumber", "01\n")):
            with open(f"{self.dir}/{file}", "w", encoding="ascii") as out:
                out.write(text)
        self.chain = (by.chain if by else "")
        if by:
            made = by.issue("sub-" + os.path.basename(self.dir), f"/CN={name}", "issuer")
            for end, to in ((".crt", "ca.pem"), (".key", "ca.key")):
                os.rename(made[:-4] + end, f"{self.dir}/{to}")
            with open(self.pem, encoding="ascii") as file:
                self.chain = file.read() + self.chain
            return
        self._key("ca")
        openssl("req", "-new", "-x509", "-config", self.config, "-extensions", "issuer",
                "-key", f"{self.dir}/ca.key", "-subj", f"/CN={name}", "-out", self.pem,
                "-days", "30")

    def _key(self, stem):
        openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-out", f"{self.dir}/{stem}.key")

    def issue(self, stem, subject, kind="client", start=-3600, end=86400, raw=False):
        """stem.pem (certificate, issuers in between, key); its path.  subject is
        in openssl's form; raw keeps what a policy would change."""
        base = f"{self.dir}/{stem}"
        self._key(stem)
        openssl("req", "-new", "-config", self.config, "-key", base + ".key", "-subj", subject,
                "-utf8", "-out", base + ".csr")
        if raw:
            openssl("x509", "-req", "-in", base + ".csr", "-CA", self.pem, "-CAkey",
                    f"{self.dir}/ca.key", "-set_serial", f"0x{os.urandom(8).hex()}", "-days", "1",
                    "-extfile", self.config, "-extensions", kind, "-out", base + ".crt")
        else:
            openssl("ca", "-batch", "-notext", "-config", self.config, "-in", base + ".csr",
                    "-out", base + ".crt", "-extensions", kind, "-preserveDN", "-startdate", when(start),
                    "-enddate", when(end))
        with open(base + ".pem", "w", encoding="ascii") as out:
            for path in (base + ".crt", base + ".key"):
                with open(path, encoding="ascii") as file:
                    out.write(file.read())
                if path.endswith(".crt"):
                    out.write(self.chain)
        return base + ".pem"

    def subject(self, pem):
        """As it stands in an entry."""
        text = openssl("x509", "-in", pem, "-noout", "-subject", "-nameopt", "RFC2253").decode()
        return text.partition("=")[2].strip("\n")

    def revoke(self, pem):
        openssl("ca", "-config", self.config, "-revoke", pem)

    def crl(self, until=86400, start=-3600):
        """The list as PEM text."""
        return openssl("ca", "-config", self.config, "-gencrl", "-crl_lastupdate", when(start),
                       "-crl_nextupdate", when(until)).decode()


def context(ca, pem=None):
    """A client's TLS, with a certificate or without."""
    made = ssl.create_default_context(cafile=ca)
    if pem:
        made.load_cert_chain(pem)
    return made
