"""Messages as a capture file that Wireshark and tshark read (the pcap format of libpcap, link type RAW).

Every message becomes one UDP datagram between the addresses it went between, whatever its transport was: what came
over TCP, TLS or a WebSocket is shown as the SIP that was in it.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sip.flow import Address
    from sip.sighting import Sighting

MEDIA_TYPE: Final = "application/vnd.tcpdump.pcap"
SNAPLEN: Final = 65_535
MAX_PAYLOAD: Final = 65_535 - 20 - 8  # bytes in a datagram of IPv4

_MAGIC: Final = 0xA1B2C3D4
_LINKTYPE_RAW: Final = 101
_UDP: Final = 17
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP_HEADER = struct.Struct("!HHHH")


def encode_pcap(sightings: Iterable[Sighting]) -> bytes:
    """Return a capture file of the messages."""
    head = _FILE.pack(_MAGIC, 2, 4, 0, 0, SNAPLEN, _LINKTYPE_RAW)
    return head + b"".join(_record(each) for each in sightings)


def _record(each: Sighting) -> bytes:
    payload = each.data[:MAX_PAYLOAD]
    missing = min(each.length, MAX_PAYLOAD) - len(payload)
    packet = encode_packet(each.source, each.destination, payload, missing=missing)
    seconds, micros = divmod(round(each.time * 1_000_000), 1_000_000)
    return _RECORD.pack(seconds, micros, len(packet), len(packet) + missing) + packet


def encode_packet(source: Address, destination: Address, payload: bytes, *, missing: int = 0) -> bytes:
    """Return an IP packet with a UDP datagram; `missing` bytes are in its lengths and not in it."""
    from_ip, to_ip = _packed(source.host), _packed(destination.host)
    length = _UDP_HEADER.size + len(payload) + missing
    udp = _UDP_HEADER.pack(source.port, destination.port, length, 0)
    if not missing:
        pseudo = from_ip + to_ip + struct.pack("!II", length, _UDP)
        # RFC 768: a sum of zero is sent as its complement, for zero says that there is none.
        udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp + payload) or 0xFFFF)
    if len(from_ip) == 16:
        header = _IPV6.pack(6 << 28, length, _UDP, 64, from_ip, to_ip)
    else:
        header = _IPV4.pack(0x45, 0, 20 + length, 0, 0, 64, _UDP, 0, from_ip, to_ip)
        header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return header + udp + payload


def _packed(host: str) -> bytes:
    return ip_address(host.partition("%")[0]).packed


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
