"""A media worker: a process that runs pjsua2, answers two calls of the core on loopback and joins them.

Rule: one thread makes every call into pjsua2; a callback of its only notes what happened, for an exception out of one
ends the process. The worker serves one pair of calls; it ends when the socket to the core does, however that comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
from collections import deque
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pjsua2 as pj

from sip.errors import ParseError
from sip.media.bridge import LOOPBACK, PORTS_PER_CALL, Begin, Fault, Hear, Lines, Pressed, Ready, Warm, encode, user_of
from sip.media.native import Native, NativeFailed, set_rtp_ports
from sip.mediaplan import Source
from sip.outcome import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sip.media.bridge import Event

PUMP: Final = 10
"""Milliseconds that pjsua may wait for a packet before the core is listened to."""
CLOCK_RATE: Final = 8000
"""Of the conference; 16000 costs twice the time and only G.722 to G.722 would be the better for it."""
PR_SET_PDEATHSIG: Final = 1

SOUNDS: Final = (Source.RINGBACK, Source.ASKING)
"""What the WAV files of the arguments are, in their order."""

Happened = deque[tuple[str, Any]]


class BridgedCall(pj.Call):
    """One side's call, which notes what happens to it."""

    def __init__(self, account: pj.Account, call_id: int, happened: Happened) -> None:
        super().__init__(account, call_id)
        self._happened = happened

    def onCallMediaState(self, _prm: pj.OnCallMediaStateParam) -> None:  # noqa: D102, N802
        self._happened.append(("media", None))

    def onCallState(self, _prm: pj.OnCallStateParam) -> None:  # noqa: D102, N802
        self._happened.append(("state", None))

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:  # noqa: D102, N802
        with contextlib.suppress(BaseException):
            self._happened.append(("digit", (self, str(prm.digit))))


class Line(pj.Account):
    """The account that both calls come in on."""

    def __init__(self, happened: Happened) -> None:
        super().__init__()
        self._happened = happened

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: D102, N802
        with contextlib.suppress(BaseException):
            # Made in here, or pjsua rejects the call on return.
            call = BridgedCall(self, prm.callId, self._happened)
            self._happened.append(("invite", (call, prm.rdata.wholeMsg)))


class Worker:
    """The process. `run` returns when the core is gone or has had enough."""

    def __init__(self, core: socket.socket, sounds: Mapping[Source, str]) -> None:
        self._core = core
        self._sounds = sounds
        """The WAV files of what we play."""
        self._version = version("pjsua2-pybind11")
        self._native = Native(Path(pj.__file__).parent)
        self._happened: Happened = deque()
        self._lines = Lines()
        self._hears = dict.fromkeys(Side, Source.SILENCE)
        self._token = ""
        self._calls: dict[Side, BridgedCall] = {}
        # What pjsua2 was given must live as long as it does; a call that is gone is never let go.
        self._kept: list[object] = []
        self._players: dict[Source, int] = {}
        self._handlers: Mapping[str, Callable[[Any], None]] = {
            "invite": self._on_invite,
            "media": self._on_media,
            "state": self._on_state,
            "digit": self._on_digit,
        }

    def run(self) -> None:
        """Serve one pair of calls."""
        self._endpoint = self._start()
        self._tell(Warm())
        while self._listen(None if not self._token else 0):
            if self._token:
                self._native.pump(PUMP)
            while self._happened:
                kind, value = self._happened.popleft()
                self._handlers[kind](value)

    def _start(self) -> pj.Endpoint:
        endpoint = pj.Endpoint()
        endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.medConfig.hasIoqueue = False
        config.medConfig.threadCnt = 0
        config.medConfig.clockRate = CLOCK_RATE
        config.medConfig.ecTailLen = 0
        config.medConfig.noVad = True
        config.logConfig.level = config.logConfig.consoleLevel = 0
        endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.boundAddress = LOOPBACK
        self._transport = endpoint.transportCreate(pj.TransportType.UDP, transport)
        endpoint.libStart()
        return endpoint

    # What the core says

    def _listen(self, patience: float | None) -> bool:
        """Do what the core asks for; False where it is gone."""
        if not select.select([self._core], [], [], patience)[0]:
            return True
        data = self._core.recv(4096)
        for command in self._lines.feed(data):
            if isinstance(command, Begin):
                self._begin(command)
            elif isinstance(command, Hear):
                self._hears[command.side] = command.source
                self._connect()
        return bool(data)

    def _begin(self, command: Begin) -> None:
        self._token = command.token
        self._endpoint.audDevManager.setNullDev()
        config = pj.AccountConfig()
        config.idUri = f"sip:worker@{LOOPBACK}"
        set_rtp_ports(config, self._version, command.rtp_port, PORTS_PER_CALL)
        line = Line(self._happened)
        line.create(config)
        self._kept += [config, line]
        local = self._endpoint.transportGetInfo(self._transport).localAddress
        self._tell(Ready(int(local.rpartition(":")[2])))

    def _tell(self, event: Event) -> None:
        # A core that has gone is noticed by the next turn's reading.
        with contextlib.suppress(OSError):
            self._core.sendall(encode(event))

    # What happens to the calls

    def _on_invite(self, value: tuple[BridgedCall, str]) -> None:
        call, message = value
        self._kept.append(call)
        line = message.partition("\r\n")[0]
        side = next((side for side in Side if f" sip:{user_of(self._token, side)}@" in line), None)
        parameters = pj.CallOpParam()
        if side is None or side in self._calls:
            parameters.statusCode = pj.StatusCode(403)
            call.hangup(parameters)
            return
        self._calls[side] = call
        parameters.statusCode = pj.StatusCode(200)
        call.answer(parameters)

    def _on_media(self, _value: None) -> None:
        self._connect()

    def _on_state(self, _value: None) -> None:
        for side, call in self._calls.items():
            if not call.active:
                raise NativeFailed(f"pjsua has ended the call of side {side.value}")

    def _on_digit(self, value: tuple[BridgedCall, str]) -> None:
        """Pass a key on, and tell the core."""
        call, digit = value
        side = next((side for side, known in self._calls.items() if known is call), None)
        if side is None:
            return
        self._tell(Pressed(side, digit))
        other = self._calls.get(side.other)
        if other is not None and self._hears[side.other] is Source.OTHER:
            # Refused where the other phone knows no telephone-event, or is on hold.
            with contextlib.suppress(RuntimeError):
                other.dialDtmf(digit)

    def _connect(self) -> None:
        """Let each side hear what it should, and nothing else; a re-INVITE has undone what was so before."""
        ends = {side: end for side, call in self._calls.items() if (end := _end_of(call)) is not None}
        for side, end in ends.items():
            other = ends.get(side.other)
            wanted = self._hears[side] if end.hears else Source.SILENCE
            for source in self._sounds:
                self._play(source, end.slot, on=source is wanted)
            if other is not None and other.talks and wanted is Source.OTHER:
                self._native.connect(other.slot, end.slot)
            elif other is not None:
                self._native.disconnect(other.slot, end.slot)

    def _play(self, source: Source, slot: int, *, on: bool) -> None:
        if on and source not in self._players:
            self._players[source] = self._native.open_player(self._sounds[source])
        if on:
            self._native.connect(self._players[source], slot)
        elif source in self._players:
            self._native.disconnect(self._players[source], slot)


class _End:
    """Where a call is in the conference, and which ways its media may go now."""

    __slots__ = ("hears", "slot", "talks")

    def __init__(self, media: pj.CallMediaInfo) -> None:
        way = int(media.dir)
        self.slot: int = media.audioConfSlot
        self.hears = bool(way & int(pj.MediaDir.ENCODING))
        self.talks = bool(way & int(pj.MediaDir.DECODING))


def _end_of(call: BridgedCall) -> _End | None:
    info = call.info  # kept while its list is looked at, which is a part of it
    return next((_End(media) for media in info.media if media.audioConfSlot >= 0), None)


def main() -> None:
    """Be a worker: the arguments are the descriptor of the socket to the core, and the WAV files of what is played."""
    # The core ends us: a Ctrl-C or a service manager's SIGTERM is for it, and it has calls to end first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    core = socket.socket(fileno=int(sys.argv[1]))
    try:
        Worker(core, dict(zip(SOUNDS, sys.argv[2:], strict=True))).run()
    except (NativeFailed, ParseError, RuntimeError, OSError) as fault:
        with contextlib.suppress(OSError):
            core.sendall(encode(Fault(str(fault)[:500])))
    # Without any clean-up: libDestroy aborts where a Call is alive, and the kernel takes all that we hold.
    os._exit(0)


if __name__ == "__main__":
    main()
