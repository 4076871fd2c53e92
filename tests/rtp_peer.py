"""A phone's media alone: an RTP port that plays a tone in PCMU, keeps what it hears, and presses keys (RFC 4733)."""

from __future__ import annotations

import asyncio
import math
import secrets
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.demo_tone import AMPLITUDE, share

if TYPE_CHECKING:
    from types import TracebackType

RATE = 8000
FRAME = 160
"""Samples of a packet: 20 ms."""
PCMU = 0
EVENTS = 101
KEYS = "0123456789*#ABCD"
PRESSED_FOR = 5
"""Packets that a key is held down."""


def _decoded(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)
    return 0x84 - magnitude if code & 0x80 else magnitude - 0x84


SAMPLES = [_decoded(code) for code in range(256)]


def _encoded(sample: int) -> int:
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, 32635) + 0x84
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF


def encoded_tone(hertz: int) -> bytes:
    """Return one second of a tone; of whole periods, so that it may be repeated."""
    step = 2 * math.pi * hertz / RATE
    return bytes(_encoded(round(AMPLITUDE * math.sin(step * index))) for index in range(RATE))


@dataclass
class RtpPeer(asyncio.DatagramProtocol):
    """Use it as an asynchronous context manager; `play` begins once it is known where to."""

    tone: int
    heard: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Those that were pressed at the other end."""
    port: int = 0
    """0 takes any."""

    async def __aenter__(self) -> RtpPeer:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))
        self.port = self._transport.get_extra_info("sockname")[1]
        self._stamps: set[int] = set()
        self._source, self._sequence, self._stamp = secrets.randbits(32), 0, 0
        self._playing: asyncio.Task[None] | None = None
        self._to = ("127.0.0.1", 9)
        self._pressing: list[bytes] = []
        return self

    async def __aexit__(self, *_exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.stop()
        self._transport.close()

    async def stop(self) -> None:
        """Play no more."""
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)

    def play(self, port: int) -> None:
        """Play the tone to a port of this host."""
        self._to = ("127.0.0.1", port)
        self._playing = asyncio.create_task(self._play())

    def description(self, *rows: str) -> bytes:
        """Return what SDP says of it."""
        lines = ["v=0", "o=x 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines += [f"m=audio {self.port} RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", *rows]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def press(self, key: str) -> None:
        """Press a key, in the place of the tone (RFC 4733 2.5)."""
        code = KEYS.index(key)
        held = [struct.pack("!BBH", code, 10, FRAME * (step + 1)) for step in range(PRESSED_FOR)]
        self._pressing = held + [struct.pack("!BBH", code, 0x80 | 10, FRAME * PRESSED_FOR)] * 3

    def share(self, *tones: int, last: float = 0.5) -> float:
        """Return which share of the power of the last seconds heard is in these tones; 0 for silence."""
        samples = self.heard[-round(last * RATE) :]
        return sum(share(samples, RATE, tone) for tone in tones)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        kind, stamp = data[1] & 0x7F, struct.unpack_from("!I", data, 4)[0]
        if kind == PCMU:
            self.heard += (SAMPLES[code] for code in data[12:])
        elif kind == EVENTS and stamp not in self._stamps:
            self._stamps.add(stamp)
            self.keys.append(KEYS[data[12]])

    async def _play(self) -> None:
        second = encoded_tone(self.tone)
        began = time.monotonic()
        for packet in range(1_000_000):
            if self._pressing:
                first = len(self._pressing) == PRESSED_FOR + 3
                self._stamp = packet * FRAME if first else self._stamp
                self._send(EVENTS | (0x80 if first else 0), self._stamp, self._pressing.pop(0))
            else:
                start = packet * FRAME
                self._send(PCMU, start, second[start % RATE : start % RATE + FRAME])
            await asyncio.sleep(max(0.0, began + (packet + 1) * 0.02 - time.monotonic()))

    def _send(self, kind: int, stamp: int, payload: bytes) -> None:
        header = struct.pack("!BBHII", 0x80, kind, self._sequence & 0xFFFF, stamp & 0xFFFFFFFF, self._source)
        self._sequence += 1
        self._transport.sendto(header + payload, self._to)
