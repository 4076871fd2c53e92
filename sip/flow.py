"""A flow: the path that a message took, and that its answer takes back (RFC 5626 3.2)."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Transport(Enum):
    """The transports of a Via, in its own spelling (RFC 3261 20.42, RFC 7118)."""

    __hash__ = object.__hash__  # flows are keys; Enum's own hash is written in Python

    UDP = "UDP"
    TCP = "TCP"
    TLS = "TLS"
    WS = "WS"
    WSS = "WSS"

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits for us, so that the transaction layer need not (RFC 3261 17)."""
        return self is not Transport.UDP

    @property
    def secure(self) -> bool:
        """Whether the transport is encrypted."""
        return self in (Transport.TLS, Transport.WSS)

    @property
    def uri_param(self) -> str:
        """The transport parameter of a URI; that of a secure WebSocket is `ws` too (RFC 7118 5.2)."""
        return "ws" if self is Transport.WSS else self.value.lower()

    @property
    def default_port(self) -> int:
        """The port of a URI that names none (RFC 3261 19.1.2)."""
        return 5061 if self.secure else 5060


class Address(NamedTuple):
    """An IP address, as text without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Flow(NamedTuple):
    """Where a message came from and how: enough to send another one back along the same way.

    Two messages of one UDP "association", or of one connection, have equal flows; a new connection from the same
    address is another flow. The peer's address is not an Address of its own, for there is one with every binding.
    """

    transport: Transport
    local: Address
    host: str
    """The peer's, as text without brackets."""
    port: int
    """The peer's."""
    connection: int = 0
    """Serial number of the connection; 0 where the transport has none."""

    @staticmethod
    def between(transport: Transport, local: Address, remote: Address, connection: int = 0) -> Flow:
        """Return the flow between two addresses."""
        return Flow(transport, local, remote.host, remote.port, connection)

    @property
    def remote(self) -> Address:
        """The peer's address."""
        return Address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.transport.value.lower()}:{self.remote}"
