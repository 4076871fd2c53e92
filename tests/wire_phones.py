"""Phones on a real socket that do as chance will have it, for tests of what may be left of many calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

LOSS = 0.02
"""Share of the datagrams that are lost, either way; as many again come twice."""
COPIED = ("Via", "From", "Call-ID", "CSeq")
SDP = "\r\n".join(
    ["v=0", "o=p 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", "m=audio {port} RTP/AVP 0", "a={way}", ""]
)
CHALLENGE = 'Digest realm="phones", nonce="n", algorithm=MD5, qop="auth"'
REFUSALS = (302, 401, 404, 407, 408, 481, 486, 488, 491, 500, 503, 603)


@dataclass
class Heard:
    """A request as a phone reads it."""

    method: str
    uri: str
    headers: Mapping[str, str]

    @property
    def initial(self) -> bool:
        return ";tag=" not in self.headers["To"]

    @property
    def branch(self) -> str:
        return self.headers["Via"].partition("branch=")[2].partition(";")[0]


@dataclass
class WirePhones(asyncio.DatagramProtocol):
    """All phones of the world behind one address."""

    chance: random.Random
    transport: asyncio.DatagramTransport = field(init=False)
    peer: tuple[str, int] = ("", 0)
    invites: dict[str, Heard] = field(default_factory=dict)
    """By branch: those that have no final answer yet."""
    answered: dict[str, bytes] = field(default_factory=dict)
    """By branch and method: what a repetition is answered."""
    count: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] - a datagram transport it is

    @property
    def address(self) -> tuple[str, int]:
        return self.transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peer = addr
        fate = self.chance.random()
        for _ in range(0 if fate < LOSS else 2 if fate < 2 * LOSS else 1):
            head, _, body = data.decode().partition("\r\n\r\n")
            start, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in reversed(lines))
            if start.startswith("SIP/2.0"):
                self._hear_answer(int(start.split()[1]), headers)
            else:
                self._hear(Heard(start.split()[0], start.split()[1], headers), body)

    def forget(self) -> None:
        """Forget all calls."""
        self.invites.clear()
        self.answered.clear()

    def _hear(self, request: Heard, body: str) -> None:
        repetition = self.answered.get(request.branch + request.method)
        if repetition is not None:
            self._send(repetition)
        elif request.method == "ACK":
            self._later(0.5, self._act, request)
        elif request.method == "INVITE" and request.initial:
            if request.branch not in self.invites:
                self.invites[request.branch] = request
                self._later(0.3, self._decide, request)
        elif request.method == "CANCEL":
            self._cancelled(request)
        elif self.chance.random() > 0.03:
            self._accept(request)

    def _decide(self, invite: Heard) -> None:
        if invite.branch not in self.invites:
            return
        choice = self.chance.randrange(20)
        if choice == 0:
            return  # silence
        if choice == 1:
            self._answer(invite, 100)
        elif choice < 5:
            status = self.chance.choice(REFUSALS)
            self._answer(invite, status, Contact=f"<sip:{self.count}@127.0.0.1:{self.address[1]}>")
        elif choice < 9:
            self._answer(invite, 180)
            self._later(8, self._decide, invite)
        else:
            self._answer(invite, 200, self._sdp(), tag=f"t{self.count}")
            if choice < 12:  # a fork, or the same again
                self._answer(invite, 200, self._sdp(), tag=self.chance.choice(["fork", f"t{self.count}"]))

    def _accept(self, request: Heard) -> None:
        status = 200 if self.chance.random() > 0.05 else self.chance.choice((481, 488, 491, 500))
        offers = request.method == "INVITE" or (request.method == "UPDATE" and "Content-Type" in request.headers)
        self._answer(request, status, self._sdp() if offers and status == 200 else "")

    def _cancelled(self, cancel: Heard) -> None:
        invite = self.invites.get(cancel.branch)
        if self.chance.random() < 0.9:
            self._answer(cancel, 200 if invite else 481)
        fate = self.chance.random()
        if invite is not None and fate < 0.95:
            crossed = fate < 0.15
            self._answer(invite, 200 if crossed else 487, self._sdp() if crossed else "", tag="late")

    def _act(self, ack: Heard) -> None:
        """Let the phone that has its ACK do something of its own."""
        method = self.chance.choice(["BYE", "BYE", "BYE", "INVITE", "UPDATE", "INFO", "OPTIONS", ""])
        if not method:
            return
        self.count += 1
        offers = method in ("INVITE", "UPDATE") and self.chance.random() < 0.8
        lines = [
            f"{method} sip:roost@{self.peer[0]}:{self.peer[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.address[1]};branch=z9hG4bKp{self.count}",
            f"From: {ack.headers['To']}",
            f"To: {ack.headers['From']}",
            "Max-Forwards: 70",
            f"Call-ID: {ack.headers['Call-ID']}",
            f"CSeq: {self.chance.randrange(1, 9)} {method}",
            f"Contact: <sip:p@127.0.0.1:{self.address[1]}>",
        ]
        self._send(_message(lines, self._sdp() if offers else ""))

    def _hear_answer(self, status: int, headers: Mapping[str, str]) -> None:
        """Acknowledge what is to be, mostly."""
        if "INVITE" not in headers["CSeq"] or status < 200 or self.chance.random() < 0.1:
            return
        self.count += 1
        branch = headers["Via"].partition("branch=")[2].partition(";")[0] if status >= 300 else f"z9hG4bKa{self.count}"
        lines = [
            f"ACK sip:roost@{self.peer[0]}:{self.peer[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.address[1]};branch={branch}",
            *(f"{name}: {headers[name]}" for name in ("From", "To", "Call-ID")),
            f"CSeq: {headers['CSeq'].split()[0]} ACK",
        ]
        self._send(_message(lines, ""))

    def _answer(self, request: Heard, status: int, body: str = "", *, tag: str = "phone", **headers: str) -> None:
        self.count += 1
        to = request.headers["To"]
        lines = [f"SIP/2.0 {status} So", *(f"{name}: {request.headers[name]}" for name in COPIED)]
        lines.append(f"To: {to}" if not request.initial or status == 100 else f"To: {to};tag={tag}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if "Contact" not in headers:
            lines.append(f"Contact: <sip:p@127.0.0.1:{self.address[1]}>")
        if status in (401, 407):
            lines.append(f"{'WWW' if status == 401 else 'Proxy'}-Authenticate: {CHALLENGE}")
        data = _message(lines, body)
        if status >= 200:
            self.invites.pop(request.branch, None)
            self.answered[request.branch + request.method] = data
        self._send(data)

    def _sdp(self) -> str:
        kind = self.chance.randrange(30)
        if kind == 0:
            return "noise"
        port = 0 if kind == 1 else self.chance.choice((4000, 4002))
        return SDP.format(port=port, way=self.chance.choice(("sendrecv", "inactive", "sendonly")))

    def _send(self, data: bytes) -> None:
        fate = self.chance.random()
        for _ in range(0 if fate < LOSS else 2 if fate < 2 * LOSS else 1):
            self.transport.sendto(data, self.peer)

    def _later(self, most: float, do: Callable[[Heard], None], request: Heard) -> None:
        asyncio.get_running_loop().call_later(most * self.chance.random(), do, request)


def _message(lines: list[str], body: str) -> bytes:
    kind = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}", "", body]).encode()
