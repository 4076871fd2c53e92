"""Kamailio as the peer, in the ways that people run it."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from phones import REALM
from processes import ServerProcess, free_port, listens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NEEDS = "the peer is missing: apt-get install kamailio kamailio-sqlite-modules kamailio-tls-modules"
SCHEMAS = Path("/usr/share/kamailio/db_sqlite")
WRITE_BACK = 3
"""Seconds between the writes of db_mode 2; the default is 60."""

CONFIG = """#!KAMAILIO
children=1
log_stderror=yes
debug=1
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
{listen_tls}
tcp_children=1
tcp_accept_no_cl=yes
tcp_max_connections=40000
tcp_conn_wq_max=67108864
tcp_wq_max=134217728
tcp_send_timeout=60
dns=no
rev_dns=no
loadmodule "jsonrpcs.so"
loadmodule "kex.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "maxfwd.so"
loadmodule "sanity.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xhttp.so"
modparam("jsonrpcs", "transport", 1)
modparam("registrar", "max_expires", 3600)
modparam("auth", "nonce_expire", 3600)
modparam("usrloc", "db_mode", {db_mode})
{modules}
{tls}
event_route[xhttp:request] {{
    jsonrpc_dispatch();
}}
request_route {{
    {checks}
    force_rport();
    if (!is_method("REGISTER")) {{
        sl_send_reply("405", "Method Not Allowed");
        exit;
    }}
    if (!{auth}) {{
        auth_challenge("$fd", "1");
        exit;
    }}
    save("location");
}}
"""

LISTEN_TLS = """
enable_tls=yes
tls_max_connections=40000
listen=tls:127.0.0.1:{port}
"""
TLS = """
loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{certificate}")
modparam("tls", "private_key", "{key}")
"""

MEMORY_PASSWORDS = """
loadmodule "db_sqlite.so"
loadmodule "htable.so"
modparam("htable", "db_url", "{url}")
modparam("htable", "htable", "pw=>size=16;dbtable=htable;")
modparam("usrloc", "hash_size", 16)
"""
SQLITE_PASSWORDS = """
loadmodule "db_sqlite.so"
loadmodule "auth_db.so"
modparam("auth_db", "db_url", "{url}")
modparam("auth_db", "calculate_ha1", 0)
modparam("auth_db", "password_column", "ha1")
modparam("auth_db", "load_credentials", "")
modparam("usrloc", "db_url", "{url}")
modparam("usrloc", "timer_interval", {write_back})
"""


@dataclass(frozen=True, slots=True)
class Flavour:
    """A way to run Kamailio."""

    name: str
    allocator: str
    db_mode: int
    passwords_in_memory: bool

    @property
    def settle(self) -> float:
        """Seconds after the last answer until its work is done."""
        return WRITE_BACK + 1.0 if self.db_mode == 2 else 0.0


TUNED = Flavour("Kamailio, tuned: fm, passwords and contacts in memory", "fm", 0, passwords_in_memory=True)
TUNED_QM = Flavour("Kamailio, the same with qm, Debian's allocator", "qm", 0, passwords_in_memory=True)
INSTALLED = Flavour("Kamailio, qm, passwords in SQLite", "qm", 0, passwords_in_memory=False)
WRITE_THROUGH = Flavour("Kamailio, qm, passwords in SQLite, db_mode 1", "qm", 1, passwords_in_memory=False)
WRITTEN_BACK = Flavour("Kamailio, qm, passwords in SQLite, db_mode 2", "qm", 2, passwords_in_memory=False)


class Kamailio(ServerProcess):
    """One Kamailio with one worker for UDP and one for connections; with certificate and key it listens for TLS too."""

    def __init__(
        self,
        directory: Path,
        flavour: Flavour,
        devices: int,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        _check_installed()
        directory.mkdir()
        self.flavour = flavour
        self.name = flavour.name
        self.settle = flavour.settle
        self.port, self.secure_port = free_port(), free_port()
        database = directory / "kamailio.db"
        _make_database(database, devices)
        config = directory / "kamailio.cfg"
        secure = {"listen_tls": "", "tls": ""}
        if certificate is not None:
            secure["listen_tls"] = LISTEN_TLS.format(port=self.secure_port)
            secure["tls"] = TLS.format(certificate=certificate, key=key)
        config.write_text(_config(flavour, self.port, f"sqlite:///{database}", secure))
        allocator = ("-x", flavour.allocator, "-X", flavour.allocator)
        memory = ("-m", "1024", "-M", "64")
        super().__init__(
            ["kamailio", "-DD", "-E", "-f", str(config), "-Y", str(directory), *memory, *allocator], directory
        )
        self.wait_until(lambda: listens(self.port))


def _check_installed() -> None:
    """Raise RuntimeError where a part of Kamailio is missing."""
    modules = (any(Path("/usr/lib").glob(f"*/kamailio/modules/{name}.so")) for name in ("db_sqlite", "tls"))
    if not (which("kamailio") and all(modules)):
        raise RuntimeError(NEEDS)


def _config(flavour: Flavour, port: int, url: str, secure: Mapping[str, str]) -> str:
    if flavour.passwords_in_memory:
        modules, auth, checks = MEMORY_PASSWORDS, 'pv_auth_check("$fd", "$sht(pw=>$au)", "1", "1")', ""
    else:
        modules, auth = SQLITE_PASSWORDS, 'auth_check("$fd", "subscriber", "1")'
        # As the configuration that is installed with it does.
        checks = 'if (!mf_process_maxfwd_header("10") || !sanity_check("17895", "7")) exit;'
    modules = modules.format(url=url, write_back=WRITE_BACK)
    return CONFIG.format(port=port, db_mode=flavour.db_mode, modules=modules, auth=auth, checks=checks, **secure)


def _make_database(path: Path, devices: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")  # kept in the file; without it db_mode 1 loses requests
    for schema in ("standard", "auth_db", "htable", "usrloc"):
        connection.executescript((SCHEMAS / f"{schema}-create.sql").read_text())
    connection.executemany(
        "INSERT INTO subscriber (username, domain, password, ha1) VALUES (?, ?, '', ?)", _users(devices)
    )
    connection.executemany(
        "INSERT INTO htable (key_name, key_type, value_type, key_value, expires) VALUES (?, 0, 0, ?, 0)",
        ((username, ha1) for username, _, ha1 in _users(devices)),
    )
    connection.commit()
    connection.close()


def _users(devices: int) -> Iterator[tuple[str, str, str]]:
    for number in range(devices):
        credentials = f"p{number}:{REALM}:secret-{number}".encode()
        yield f"p{number}", REALM, hashlib.md5(credentials, usedforsecurity=False).hexdigest()
