"""Messages as HEP version 3 (EEP), which Homer and other captures take (github.com/sipcapture/HEP, rev. 36)."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from sip.flow import Transport

if TYPE_CHECKING:
    from sip.sighting import Sighting

MAX_PAYLOAD: Final = 65_000  # bytes: the packet is a datagram, and its other chunks have under 500
MAX_PASSWORD: Final = 128  # bytes
SIP: Final = 1

_VENDOR: Final = 0  # of the chunks that the specification defines
_CHUNK = struct.Struct("!HHH")
_INET, _INET6 = 2, 10
_PROTOCOLS: Final = {Transport.UDP: 17}
_TCP: Final = 6


def encode_hep(each: Sighting, *, capture_id: int, password: str = "") -> bytes:
    """Return the packet of a message. A message that does not fit into a datagram is cut."""
    source, destination = _packed(each.source.host), _packed(each.destination.host)
    six = len(source) == 16
    seconds, micros = divmod(round(each.time * 1_000_000), 1_000_000)
    chunks = [
        _chunk(1, struct.pack("!B", _INET6 if six else _INET)),
        _chunk(2, struct.pack("!B", _PROTOCOLS.get(each.transport, _TCP))),
        _chunk(5 if six else 3, source),
        _chunk(6 if six else 4, destination),
        _chunk(7, struct.pack("!H", each.source.port)),
        _chunk(8, struct.pack("!H", each.destination.port)),
        _chunk(9, struct.pack("!I", seconds)),
        _chunk(10, struct.pack("!I", micros)),
        _chunk(11, struct.pack("!B", SIP)),
        _chunk(12, struct.pack("!I", capture_id)),
    ]
    if password:
        chunks.append(_chunk(14, password.encode()[:MAX_PASSWORD]))
    chunks.append(_chunk(15, each.data[:MAX_PAYLOAD]))
    body = b"".join(chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def _chunk(kind: int, value: bytes) -> bytes:
    return _CHUNK.pack(_VENDOR, kind, _CHUNK.size + len(value)) + value


def _packed(host: str) -> bytes:
    return ip_address(host.partition("%")[0]).packed
