"""Addresses to listen on, as the configuration writes them: `127.0.0.1:8000`, `udp:0.0.0.0:5060`, `tls:[::]:5061`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import Enum

HOST_PORT = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<four>[^\[\]:]*)):(?P<port>\d{1,5})", re.ASCII)
MAX_PORT = 65_535


class ListenTransport(Enum):
    """What a SIP listener speaks; the value is its spelling in the configuration."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"

    @property
    def secure(self) -> bool:
        """Whether it needs a certificate."""
        return self in (ListenTransport.TLS, ListenTransport.WSS)


@dataclass(frozen=True, slots=True)
class HostPort:
    """An IP address, without brackets, and a port; port 0 takes any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Read `ADDRESS:PORT`, an IPv6 address in brackets. Raises ValueError with a sentence for the operator."""
        match = HOST_PORT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not ADDRESS:PORT, such as 127.0.0.1:8000 or [::1]:8000")
        host, port = match["six"] or match["four"] or "", int(match["port"])
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} in {text!r} is not an IP address (0.0.0.0 or [::] listens on all)") from None
        if (address.version == 6) != (match["six"] is not None):
            raise ValueError(f"{text!r}: an IPv6 address, and no other, stands in brackets, such as [::1]:8000")
        if port > MAX_PORT:
            raise ValueError(f"port {port} in {text!r} is above {MAX_PORT}")
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A SIP listener; port 0 takes any that is free."""

    transport: ListenTransport
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listener:
        """Read `TRANSPORT:ADDRESS:PORT`. Raises ValueError with a sentence for the operator."""
        name, _colon, rest = text.partition(":")
        try:
            transport = ListenTransport(name.lower())
        except ValueError:
            *others, last = (f"{each.value}:" for each in ListenTransport)
            known = f"{', '.join(others)} or {last}"
            raise ValueError(f"{text!r} does not begin with {known}, such as udp:0.0.0.0:5060") from None
        address = HostPort.parse(rest)
        return cls(transport, address.host, address.port)

    def __str__(self) -> str:
        return f"{self.transport.value}:{HostPort(self.host, self.port)}"
