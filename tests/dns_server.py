"""A small DNS server on loopback, with a zone that a test writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from sip.flow import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TTL = 60


class DnsServer(asyncio.DatagramProtocol):
    """Answers from a zone: `{("name.", "SRV"): ["10 0 5060 host."]}`; with `silent` it answers nothing."""

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]], *, silent: bool = False) -> None:
        self.zone = zone
        self.silent = silent
        self.asked: list[tuple[str, str]] = []
        self.address = Address("127.0.0.1", 0)
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> DnsServer:
        """Bind a free port of loopback."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address = Address(*self._transport.get_extra_info("sockname"))
        return self

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = str(question.name), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent or self._transport is None:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        values = self.zone.get((name, kind))
        if values:
            answer.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, *values))
        elif not any(name == known for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), source)

    def close(self) -> None:
        """Stop answering."""
        if self._transport is not None:
            self._transport.close()
