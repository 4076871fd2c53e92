"""Who holds a port of this host, by what /proc tells (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROC: Final = Path("/proc")
LISTENING: Final = "0A"
"""A TCP socket's state."""
TABLES: Final = {socket.SOCK_DGRAM: ("udp", "udp6"), socket.SOCK_STREAM: ("tcp", "tcp6")}


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that is bound, and for TCP listens."""

    host: str
    port: int
    user: int
    inode: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, as far as we may see it."""

    user: int
    pid: int = 0
    """0 where only root could tell."""
    words: tuple[str, ...] = ()
    """Its command line."""

    @property
    def is_roost(self) -> bool:
        """Whether it is `roost run`, however it was started."""
        names = [Path(word).name for word in self.words]
        if names and names[0].startswith("python"):
            names = [name for name in names[1:] if name != "-I"]
        return names[:2] == ["roost", "run"] or names[:3] == ["-m", "daemon", "run"]

    def __str__(self) -> str:
        if not self.pid:
            return f"a process of user {self.user}, which only root can see"
        return f"{' '.join(self.words)[:80] or 'a process'} (pid {self.pid})"


def bound_sockets(kind: socket.SocketKind, proc: Path = PROC) -> Iterator[Bound]:
    """Yield every bound UDP socket, or every TCP socket that listens."""
    for table in TABLES[kind]:
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without IPv6 has no such table
        for line in lines:
            columns = line.split()
            if kind == socket.SOCK_DGRAM or columns[3] == LISTENING:
                address, _, port = columns[1].partition(":")
                yield Bound(_address_of(address), int(port, 16), int(columns[7]), columns[9])


def holder_of(kind: socket.SocketKind, host: str, port: int, proc: Path = PROC) -> Holder | None:
    """Return who keeps us from binding the address, or None where nobody seems to."""
    for bound in bound_sockets(kind, proc):
        if bound.port == port and _overlap(bound.host, host):
            pid = _process_with(bound.inode, proc)
            return Holder(bound.user, pid, _words(pid, proc) if pid else ())
    return None


def _address_of(text: str) -> str:
    """Read an address as the kernel prints it: 32-bit words in the host's order, which is little-endian here."""
    raw = bytes.fromhex(text)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ip_address(turned)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _overlap(one: str, other: str) -> bool:
    first, second = ip_address(one), ip_address(other)
    if first.version != second.version:
        return str(first) == "::"  # which may take IPv4 too; who binds it alone does not keep us away
    return first == second or first.is_unspecified or second.is_unspecified


def _process_with(inode: str, proc: Path) -> int:
    wanted = f"socket:[{inode}]"
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            descriptors = list((folder / "fd").iterdir())
        except OSError:
            continue  # of another user, or just gone
        if any(_link(each) == wanted for each in descriptors):
            return int(folder.name)
    return 0


def _link(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - socket:[...] is no path
    except OSError:
        return ""


def _words(pid: int, proc: Path) -> tuple[str, ...]:
    try:
        line: Sequence[bytes] = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ()
    return tuple(word.decode(errors="replace") for word in line if word)
