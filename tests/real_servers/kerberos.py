"""A realm of Kerberos for one test: a server of tickets (MIT's krb5kdc), a user with a password, and a service's key.

Everything is in one directory, and found by the environment variables that MIT's library looks at; nothing of the
machine's own Kerberos is read or changed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.needs import needs_program

from .processes import HOST, Prepared, directory, free_ports, needs_server, running

PACKAGES = "apt-get install krb5-kdc krb5-admin-server krb5-user"
REALM = "EXAMPLE.TEST"
SERVICE = "localhost"  # the name of the host that the service's key is for

# Names are taken as they are: neither the realm nor the host is looked up.
_CONFIGURATION = f"""\
[libdefaults]
  default_realm = {REALM}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  # TCP is tried first: that its port is free is known.
  udp_preference_limit = 1
[domain_realm]
  {SERVICE} = {REALM}
[realms]
  {REALM} = {{{{
    kdc = {HOST}:{{port}}
  }}}}
"""
_SERVER = f"""\
[kdcdefaults]
  kdc_listen = ""
  kdc_tcp_listen = {HOST}:{{port}}
[realms]
  {REALM} = {{{{
    database_name = {{base}}/principal
    key_stash_file = {{base}}/stash
  }}}}
[logging]
  kdc = FILE:{{base}}/log
"""


class Realm(NamedTuple):
    """A realm: what programs have to have in their environment to be in it, and the key of the service."""

    environment: dict[str, str]
    keytab: Path


@contextmanager
def realm(user: str, password: str) -> Iterator[Realm]:
    """The realm, for the time of the block, with a user and the service smtp at `SERVICE`."""
    program = needs_server("krb5kdc", PACKAGES, "root")
    for other in ("kdb5_util", "kadmin.local", "kinit"):
        needs_program(other, PACKAGES.removeprefix("apt-get install "))
    with directory("kerberos") as base:
        environment = {
            "KRB5_CONFIG": f"{base}/krb5.conf",
            "KRB5_KDC_PROFILE": f"{base}/kdc.conf",
            "KRB5CCNAME": f"FILE:{base}/tickets",
        }
        keytab = base / "keytab"

        def run(*command: str) -> None:
            subprocess.run(
                command, env={"PATH": "/usr/sbin:/usr/bin:/bin", **environment}, check=True, capture_output=True
            )

        def prepare() -> Prepared:
            ports = free_ports("kdc")
            (base / "krb5.conf").write_text(_CONFIGURATION.format(port=ports["kdc"]))
            (base / "kdc.conf").write_text(_SERVER.format(base=base, port=ports["kdc"]))
            if not keytab.exists():
                run("kdb5_util", "create", "-s", "-P", "of no matter", "-r", REALM)
                run("kadmin.local", "-q", f"addprinc -pw {password} {user}")
                run("kadmin.local", "-q", f"addprinc -randkey smtp/{SERVICE}")
                run("kadmin.local", "-q", f"ktadd -k {keytab} smtp/{SERVICE}")
            command = ["env", *(f"{name}={value}" for name, value in environment.items()), program, "-n"]
            return command, ports, base / "log"

        with running(prepare, base):
            yield Realm(environment, keytab)
