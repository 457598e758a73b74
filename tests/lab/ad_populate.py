#!/usr/bin/python3
"""ad_populate.py SMB_CONF DIR: accounts and groups for a new Samba AD DC that
does not run, and into DIR service.keytab (of svc-rms), accounts.keytab (of the
computers and users) and sids.json (name to SID)."""

import json
import os
import sys

import ldb
from samba import dckeytab, dsdb  # noqa: F401  dckeytab gives Net its export_keytab
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.net import Net
from samba.param import LoadParm
from samba.samdb import SamDB

GLOBAL = dsdb.GTYPE_SECURITY_GLOBAL_GROUP
UNIVERSAL = dsdb.GTYPE_SECURITY_UNIVERSAL_GROUP
LOCAL = dsdb.GTYPE_SECURITY_DOMAIN_LOCAL_GROUP
MAIL = dsdb.GTYPE_DISTRIBUTION_UNIVERSAL_GROUP
AES = "24"  # msDS-SupportedEncryptionTypes: AES128, AES256

COMPUTERS = ("EXCH01", "EXCH02", "SP01", "FS01")
USERS = ("alice", "jörg", "bulk")
SERVICE, SPNS = "svc-rms", ("HTTP/connector.contoso.test", "HTTP/rms.contoso.test")
# name, type, members; a group after those that are its members
GROUPS = (
    ("Exchange Site A", GLOBAL, ("EXCH01$",)),
    ("Exchange Servers", UNIVERSAL, ("Exchange Site A",)),
    ("SharePoint Servers", GLOBAL, ("SP01$",)),
    ("File Servers", LOCAL, ("FS01$",)),
    ("Rights Clients", LOCAL, ("Exchange Servers", "SharePoint Servers")),
    ("Büro Köln", GLOBAL, ("jörg",)),
    ("Exchange News", MAIL, ("EXCH01$",)),
    ("Empty Group", GLOBAL, ()),
)
# account name, type, relative DN: names that say more in a filter or a DN
NAMES = (
    ("ops-star", GLOBAL, "CN=Ops*(Köln)&|!,CN=Users"),
    ("ops-slash", GLOBAL, r"CN=Slash\5C and\2C comma \23\31,CN=Users"),
    ("twin-a", GLOBAL, "CN=Twin,CN=Users"),
    ("twin-b", UNIVERSAL, "CN=Twin,OU=Other"),
)
ALICE_UPN = "ali@example.test"  # the others' is name@contoso.test
DISABLED = "gone"
BULK_GROUPS = 1001  # all with the one member "bulk"


class Directory:
    def __init__(self, config):
        self.params = LoadParm()
        self.params.load(config)
        self.sam = SamDB(url=self.params.private_path("sam.ldb"), lp=self.params,
                         session_info=system_session())
        self.base = str(self.sam.domain_dn())

    def dn(self, account):
        found = self.sam.search(self.base, expression=f"(sAMAccountName={account})", attrs=["dn"])
        return str(found[0].dn)

    def keys(self, account, spns=()):
        """AES keys only, of a password that nobody knows."""
        change = ldb.Message(ldb.Dn(self.sam, self.dn(account)))
        change["enctypes"] = ldb.MessageElement(AES, ldb.FLAG_MOD_REPLACE,
                                                "msDS-SupportedEncryptionTypes")
        if spns:
            change["spns"] = ldb.MessageElement(list(spns), ldb.FLAG_MOD_REPLACE,
                                                "servicePrincipalName")
        self.sam.modify(change)
        self.sam.setpassword(f"(sAMAccountName={account})", "Aa1-" + os.urandom(20).hex(), False,
                             account)

    def add_accounts(self):
        for name in COMPUTERS:
            self.sam.newcomputer(name)
            self.sam.enable_account(f"(sAMAccountName={name}$)")
            self.keys(name + "$", (f"HOST/{name.lower()}.contoso.test", f"HOST/{name}"))
        for name in USERS + (SERVICE,):
            self.sam.newuser(name, "Aa1-" + os.urandom(20).hex(), useusernameascn=True)
            self.keys(name, SPNS if name == SERVICE else ())

        self.sam.newuser(DISABLED, "Aa1-" + os.urandom(20).hex(), useusernameascn=True)
        self.sam.disable_account(f"(sAMAccountName={DISABLED})")
        change = ldb.Message(ldb.Dn(self.sam, self.dn("alice")))
        change["upn"] = ldb.MessageElement([ALICE_UPN], ldb.FLAG_MOD_REPLACE,
                                           "userPrincipalName")
        self.sam.modify(change)

    def add_spn_of_dc(self):
        """What a DC registers by itself, with a service that does not run here."""
        change = ldb.Message(ldb.Dn(self.sam, self.dn("DC1$")))
        change["spn"] = ldb.MessageElement(["ldap/dc1.contoso.test"], ldb.FLAG_MOD_ADD,
                                           "servicePrincipalName")
        self.sam.modify(change)

    def add_names(self):
        self.sam.create_ou(f"OU=Other,{self.base}")
        for name, kind, relative in NAMES:
            self.sam.add({"dn": f"{relative},{self.base}", "objectClass": "group",
                          "sAMAccountName": name, "groupType": str(kind)})

    def add_groups(self):
        for name, kind, members in GROUPS:
            self.sam.newgroup(name, grouptype=kind)
            if members:
                self.sam.add_remove_group_members(name, list(members),
                                                  add_members_operation=True)
        member = self.dn("bulk")
        self.sam.transaction_start()
        for i in range(BULK_GROUPS):
            name = f"Bulk{i:04}"
            self.sam.add({"dn": f"CN={name},CN=Users,{self.base}", "objectClass": "group",
                          "sAMAccountName": name, "member": member})
        self.sam.transaction_commit()

    def sids(self):
        found = self.sam.search(self.base, expression="(|(objectClass=group)(objectClass=user))",
                                attrs=["sAMAccountName", "objectSid"])
        return {str(entry["sAMAccountName"]):
                str(ndr_unpack(security.dom_sid, entry["objectSid"][0])) for entry in found}

    def export(self, keytab, *principals):
        for principal in principals:
            Net(None, self.params).export_keytab(keytab=keytab, principal=principal)
        os.chmod(keytab, 0o600)


def main(config, out):
    directory = Directory(config)
    directory.add_accounts()
    directory.add_groups()
    directory.add_names()
    directory.add_spn_of_dc()
    directory.export(f"{out}/service.keytab", *SPNS)
    directory.export(f"{out}/accounts.keytab", *(c + "$" for c in COMPUTERS), *USERS)
    with open(f"{out}/sids.json", "w", encoding="utf-8") as file:
        json.dump(directory.sids(), file, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
