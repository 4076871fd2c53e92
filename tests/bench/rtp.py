"""Many phones' media over one socket: each stream plays a tone in PCMU, and what comes back is counted and kept."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtp_peer import FRAME, RATE, SAMPLES, encoded_tone

from daemon.demo_tone import share

if TYPE_CHECKING:
    from typing_extensions import Self

HEARD = 0.5
"""Seconds at the end of a stream in which its tone is measured."""
LATE = 0.06
"""Seconds between two packets of a stream that a phone's jitter buffer may not bridge."""


@dataclass
class Stream:
    """What one phone hears."""

    plays: bytes
    """One second of its own tone."""
    hears: int
    """Hertz of the tone that has to come back."""
    packets: int = 0
    lost: int = 0
    late: int = 0
    last: float = 0.0
    sequence: int = -1
    samples: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes, now: float) -> None:
        """Count a packet, and how it came."""
        (sequence,) = struct.unpack_from("!H", data, 2)
        if self.sequence >= 0:
            self.lost += max(0, (sequence - self.sequence & 0xFFFF) - 1)
            self.late += now - self.last > LATE
        self.sequence, self.last = sequence, now
        self.packets += 1
        self.samples += data[12:]
        del self.samples[: -round(HEARD * RATE)]

    @property
    def share(self) -> float:
        """Which share of what was heard last is the other's tone."""
        return share([SAMPLES[code] for code in self.samples], RATE, self.hears)

    def begin(self) -> None:
        """Count anew."""
        self.packets = self.lost = self.late = 0


class Media:
    """Use it as a context manager; `add` streams by the port that they are played to."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port: int = self._socket.getsockname()[1]
        self.streams: dict[int, Stream] = {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._play, self._hear)]
        self._tones = {hertz: encoded_tone(hertz) for hertz in (440, 1000)}

    def add(self, port: int, plays: int, hears: int) -> None:
        """Play a tone to a port, and hear another from there."""
        self.streams[port] = Stream(self._tones[plays], hears)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _play(self) -> None:
        began, packet = time.monotonic(), 0
        while not self._over.is_set():
            start = packet * FRAME % RATE
            for port, stream in list(self.streams.items()):
                head = struct.pack("!BBHII", 0x80, 0, packet & 0xFFFF, packet * FRAME & 0xFFFFFFFF, port)
                self._socket.sendto(head + stream.plays[start : start + FRAME], ("127.0.0.1", port))
            packet += 1
            time.sleep(max(0.0, began + packet * FRAME / RATE - time.monotonic()))

    def _hear(self) -> None:
        while not self._over.is_set():
            try:
                data, (_, port) = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            stream = self.streams.get(port)
            if stream is not None and len(data) == 12 + FRAME:
                stream.take(data, time.monotonic())
