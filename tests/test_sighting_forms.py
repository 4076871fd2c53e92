"""Messages as capture files, as packets for Homer, as text and as ladders."""

from __future__ import annotations

import shutil
import struct
import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from sip.flow import Address, Transport
from sip.hep import MAX_PAYLOAD, encode_hep
from sip.ladder import WIDTH, draw
from sip.pcap import encode_pcap
from sip.sighting import Sighting, as_text

if TYPE_CHECKING:
    from pathlib import Path

US = Address("192.0.2.1", 5060)
PHONE = Address("192.0.2.7", 40_000)
MOMENT = 1_700_000_000.25
OPTIONS = (
    b"OPTIONS sip:bob@a.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\n"
    b"To: <sip:bob@a.test>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
OK = OPTIONS.replace(b"OPTIONS sip:bob@a.test SIP/2.0", b"SIP/2.0 200 OK")


def sighting(
    data: bytes = OPTIONS,
    *,
    sent: bool = False,
    remote: Address = PHONE,
    local: Address = US,
    transport: Transport = Transport.UDP,
    length: int | None = None,
    after: float = 0.0,
) -> Sighting:
    return Sighting(1, MOMENT + after, sent, transport, local, remote, data, len(data) if length is None else length)


# Capture files


def tshark(tmp_path: Path, sightings: list[Sighting], *fields: str) -> list[str]:
    """Return the fields of each packet, as tshark dissects the file; wrong checksums are told."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed (apt-get install tshark)")
    file = tmp_path / "trace.pcap"
    file.write_bytes(encode_pcap(sightings))
    checks = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    options = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(file), *checks, "-T", "fields", *options], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("transport", list(Transport))
def test_tshark_reads_the_file_as_sip(tmp_path: Path, transport: Transport) -> None:
    """With the real addresses, whatever the transport was, and with checksums that are right."""
    six = {"local": Address("2001:db8::1", 5070), "remote": Address("2001:db8::7", 6070)}
    seen = [
        sighting(transport=transport),
        sighting(OK, sent=True, transport=transport),
        sighting(transport=transport, **six),
    ]
    fields = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport", "sip.Method", "sip.Status-Code")
    lines = tshark(tmp_path, seen, *fields, "frame.time_epoch", "_ws.expert.message")

    assert lines == [
        "192.0.2.7\t192.0.2.1\t\t\t40000\t5060\tOPTIONS\t\t1700000000.250000000\t",
        "192.0.2.1\t192.0.2.7\t\t\t5060\t40000\t\t200\t1700000000.250000000\t",
        "\t\t2001:db8::7\t2001:db8::1\t6070\t5070\tOPTIONS\t\t1700000000.250000000\t",
    ]


def test_message_that_was_cut_has_its_whole_length(tmp_path: Path) -> None:
    """And one too long for a datagram is cut to one."""
    seen = [sighting(OPTIONS[:100], length=20_000), sighting(OPTIONS + bytes(70_000))]

    assert tshark(tmp_path, seen, "frame.len", "frame.cap_len") == [f"{20_028}\t128", "65535\t65535"]


def test_address_with_a_zone_and_an_odd_length(tmp_path: Path) -> None:
    """A link-local peer; the checksum pads."""
    local, remote = Address("fe80::1%eth0", 5060), Address("fe80::2%eth0", 5060)

    assert tshark(tmp_path, [sighting(OPTIONS + b"x", local=local, remote=remote)], "udp.checksum.status") == ["1"]


# HEP


def chunks_of(packet: bytes) -> dict[int, bytes]:
    """Read a packet by the table of the specification, independent of what wrote it."""
    assert packet[:4] == b"HEP3"
    assert int.from_bytes(packet[4:6], "big") == len(packet)
    found, at = {}, 6
    while at < len(packet):
        vendor, kind, length = struct.unpack_from("!HHH", packet, at)
        assert vendor == 0
        assert kind not in found
        found[kind] = packet[at + 6 : at + length]
        at += length
    assert at == len(packet)
    return found


def test_hep_packet() -> None:
    """Each chunk has the type and size of the specification."""
    chunks = chunks_of(encode_hep(sighting(sent=True), capture_id=77, password="pw"))

    assert chunks == {
        1: b"\x02", 2: b"\x11", 3: ip_address("192.0.2.1").packed, 4: ip_address("192.0.2.7").packed,
        7: b"\x13\xc4", 8: b"\x9c\x40", 9: (1_700_000_000).to_bytes(4, "big"), 10: (250_000).to_bytes(4, "big"),
        11: b"\x01", 12: b"\x00\x00\x00\x4d", 14: b"pw", 15: OPTIONS,
    }  # fmt: skip


def test_hep_packet_of_ipv6_over_tls_without_password() -> None:
    """The protocol is that of IP: TCP."""
    seen = sighting(local=Address("::1", 5061), remote=Address("2001:db8::7", 9), transport=Transport.TLS)
    chunks = chunks_of(encode_hep(seen, capture_id=1))

    assert (chunks[1], chunks[2]) == (b"\x0a", b"\x06")
    assert (chunks[5], chunks[6]) == (ip_address("2001:db8::7").packed, ip_address("::1").packed)
    assert not {3, 4, 14} & chunks.keys()


def test_hep_packet_fits_a_datagram() -> None:
    """A longer message is cut."""
    packet = encode_hep(sighting(bytes(70_000)), capture_id=1, password="p" * 500)

    assert len(packet) < 65_507
    assert len(chunks_of(packet)[15]) == MAX_PAYLOAD


# Text and ladders


def test_text_tells_when_between_whom_and_what() -> None:
    """What a terminal would obey is written out."""
    text = as_text([sighting(b"OPTIONS sip:a SIP/2.0\r\nSubject: \x1b[2J\xff\r\n\r\n"), sighting(b"abc", length=9)])

    assert text.splitlines() == [
        "--- 2023-11-14 22:13:20.250000 received by UDP 192.0.2.7:40000 -> 192.0.2.1:5060",
        "OPTIONS sip:a SIP/2.0",
        "Subject: \\x1b[2J\ufffd",
        "",
        "--- 2023-11-14 22:13:20.250000 received by UDP 192.0.2.7:40000 -> 192.0.2.1:5060, the first 3 of 9 bytes",
        "abc",
        "",
    ]


def test_ladder_of_one_phone() -> None:
    """We are on the right; arrows point where messages went."""
    drawn = draw([sighting(), sighting(OK, sent=True, after=0.5)])

    assert drawn == (
        "                 192.0.2.7:40000                                  Roost\n"
        "                        |                                           |\n"
        "22:13:20.250            |---------------- OPTIONS ----------------->|\n"
        "22:13:20.750            |<----------------- 200 OK -----------------|\n"
    )


def test_ladder_of_two_peers_has_us_between_them() -> None:
    """As a quickcall has them."""
    other = Address("192.0.2.9", 5060)
    lines = draw([sighting(sent=True), sighting(sent=True, remote=other), sighting(OK, remote=other)]).splitlines()

    assert [name for name in lines[0].split() if name] == ["192.0.2.7:40000", "Roost", "192.0.2.9:5060"]
    assert lines[2].index("<") < lines[3].index(">")
    assert lines[4].index("<") > lines[2].index("<")


@pytest.mark.parametrize("peers", range(1, 8))
def test_ladder_is_never_wider_than_a_terminal(peers: int) -> None:
    """However many peers there are, and whatever they send; the last ones share a line."""
    remotes = [Address(f"2001:db8:1111:2222:3333:4444:5555:{number:x}", 65_535) for number in range(peers)]
    junk = b"\x1b]0;x\x07 no SIP"
    lengthy = OPTIONS.replace(b"OPTIONS", b"X" * 60)
    seen = [
        sighting(data, sent=sent, remote=remote)
        for remote in remotes
        for data in (OPTIONS, OK, junk, lengthy)
        for sent in (False, True)
    ]
    lines = draw(seen).splitlines()

    assert len(lines) == 2 + len(seen)
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)
    assert all(line.count("<") + line.count(">") == 1 for line in lines[2:])
    assert ("others" in lines[0]) == (peers > 3)


def test_ladder_of_nothing_is_empty() -> None:
    """Before the first message."""
    assert draw([]) == ""
