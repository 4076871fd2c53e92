"""Ports and addresses: whether the daemon can have them, and whether phones find it there."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from config.listen import HostPort, ListenTransport
from daemon.doctor.finding import Finding, fault, good, warning
from daemon.doctor.sockets import bound_sockets, holder_of
from sip.io.host import is_unspecified, local_host_towards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.settings import Settings
    from daemon.doctor.sockets import Holder

FAR: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Documentation addresses (RFC 5737, 3849): no packet goes there, the host only tells what it would send from."""
UNPRIVILEGED: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
DROP_INS: Final = Path("/etc/systemd/system/roost.service.d")
CAPABILITY: Final = "CAP_NET_BIND_SERVICE"
PRIVILEGE: Final = "copy privileged-ports.conf to /etc/systemd/system/roost.service.d/ (docs/install.md)"
MOST_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """A socket that the daemon listens on."""

    key: str
    """Of the configuration."""
    text: str
    kind: socket.SocketKind
    host: str
    port: int


def wanted_sockets(settings: Settings) -> list[Wanted]:
    """Return the sockets of the configuration; those on a port that the system chooses are left out."""
    found = [
        Wanted(
            "sip.listen",
            str(each),
            socket.SOCK_DGRAM if each.transport is ListenTransport.UDP else socket.SOCK_STREAM,
            each.host,
            each.port,
        )
        for each in settings.sip.listen
    ]
    http = [("api.listen", settings.api.listen), *(("metrics.listen", each) for each in settings.metrics.listen)]
    found += [Wanted(key, f"tcp:{at}", socket.SOCK_STREAM, at.host, at.port) for key, at in http]
    return [each for each in found if each.port]


def find_daemon(wanted: Iterable[Wanted]) -> Holder | None:
    """Return the Roost that holds one of the ports, or None."""
    for each in wanted:
        holder = holder_of(each.kind, each.host, each.port)
        if holder is not None and holder.is_roost:
            return holder
    return None


def check_ports(wanted: Iterable[Wanted]) -> Iterator[Finding]:
    """Tell of each port whether it is free, the daemon's, or somebody else's."""
    for each in wanted:
        reason = _refusal(each)
        if reason == 0 and _privileged(each.port):
            yield fault("ports", f"{each.text} is below 1024, and the service has no right to that", PRIVILEGE)
        elif reason == 0:
            yield good("ports", f"{each.text} is free")
        elif reason == errno.EADDRINUSE:
            yield _taken(each)
        elif reason == errno.EADDRNOTAVAIL:
            yield fault("ports", f"{each.text}: this host has no such address", f"see  ip address  and {each.key}")
        elif reason == errno.EACCES:
            yield fault("ports", f"{each.text} is below 1024, and you have no right to that", PRIVILEGE)
        else:
            yield fault("ports", f"{each.text}: {errno.errorcode.get(reason, reason)}", f"see {each.key}")


def check_media_ports(settings: Settings, daemon: Holder | None) -> Iterator[Finding]:
    """Tell whether somebody else sits on ports for RTP; a call then tries the next ones."""
    first, last = settings.media.ports
    taken = sorted(
        {
            bound.port
            for bound in bound_sockets(socket.SOCK_DGRAM)
            if first <= bound.port <= last and (daemon is None or bound.user != daemon.user)
        }
    )
    if taken:
        told = ", ".join(map(str, taken[:MOST_TOLD])) + (" ..." if len(taken) > MOST_TOLD else "")
        text = f"UDP {told} of media.port_range {first}-{last}: taken by others"
        yield warning("ports", text, "calls lack these ports; choose another media.port_range")
    else:
        yield good("ports", f"UDP {first} to {last}, for RTP, are free of others")


def phone_addresses(settings: Settings) -> list[str]:
    """Return the addresses that phones send to, as far as this host knows them."""
    found = [
        local_host_towards(FAR[ip_address(each.host).version]) if is_unspecified(each.host) else each.host
        for each in settings.sip.listen
    ]
    return list(dict.fromkeys(found))


def check_addresses(settings: Settings) -> Iterator[Finding]:
    """Tell where phones reach the daemon, and what is in their way."""
    for text in phone_addresses(settings):
        address = ip_address(text)
        if address.is_loopback:
            advice = "phones on other machines do not reach it: see sip.listen, and whether the host has a network"
            yield warning("address", f"{text} is this host alone", advice)
        elif address.is_private or address.is_link_local:
            advice = "phones elsewhere need the NAT's public address, the SIP and RTP ports forwarded to this host"
            advice += "" if settings.media.address else ", and media.address set to it"
            yield good("address", f"phones of this network reach {text}", advice)
        else:
            yield good("address", f"phones reach {text}")
    api = settings.api.listen
    if not ip_address(api.host).is_loopback:
        text = f"the API is served unencrypted on {HostPort(api.host, api.port)}"
        yield warning(
            "address", text, "tokens can be read on the way: api.listen on 127.0.0.1, a proxy with TLS before it"
        )


def _refusal(wanted: Wanted) -> int:
    """Return why the address cannot be bound, as an errno; 0 where it can."""
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    try:
        with socket.socket(family, wanted.kind) as trial:
            if wanted.kind == socket.SOCK_STREAM:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over do not count
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((wanted.host, wanted.port))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _taken(wanted: Wanted) -> Finding:
    holder = holder_of(wanted.kind, wanted.host, wanted.port)
    if holder is not None and holder.is_roost:
        return good("ports", f"{wanted.text} is held by Roost (pid {holder.pid})")
    if holder is None or not holder.pid:
        return warning("ports", f"{wanted.text} is taken by {holder or 'somebody'}", "as root this tells by whom")
    advice = f"stop that one, or give Roost another port in {wanted.key}"
    return fault("ports", f"{wanted.text} is taken by {holder}", advice)


def _privileged(port: int) -> bool:
    """Return whether the service may not bind the port, though root, who asks, may."""
    try:
        least = int(UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        least = 1024
    return port < least and not any(CAPABILITY in each.read_text() for each in DROP_INS.glob("*.conf"))
