"""A pjsua2 phone that registers, answers a call because of its auto-answer header, plays a tone and records.

It is a program of its own: pjsua2 may abort the process it lives in, and prints to stdout. `PjsuaPhone` starts it with
a pipe for events (a word a line: `registered`, `answered`, `media`, `closed`); `hangup` or `quit` go to its stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import math
import os
import select
import sys
import wave
from array import array
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipp_phone import Account

EVENT_LIMIT = 10.0
RATE = 8000


class PjsuaPhone:
    """One phone process; an asynchronous context manager."""

    def __init__(self, account: Account, registrar: tuple[str, int], folder: Path, *, tone: int) -> None:
        self.folder = folder
        self._settings = {
            "username": account.username,
            "password": account.password,
            "realm": account.realm,
            "registrar": f"{registrar[0]}:{registrar[1]}",
            "tone": tone,
            "folder": str(folder),
        }
        self._events: asyncio.StreamReader
        self._process: asyncio.subprocess.Process

    @property
    def recording(self) -> Path:
        """What the phone heard."""
        return self.folder / "heard.wav"

    async def __aenter__(self) -> PjsuaPhone:
        self.folder.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        with (self.folder / "output.log").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, json.dumps(self._settings | {"events": writing}),
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, pass_fds=(writing,),
            )  # fmt: skip
        os.close(writing)
        self._events = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._events)
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, os.fdopen(reading, "rb", buffering=0)
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with contextlib.suppress(ConnectionError):
            await self.tell("quit")
        try:
            await asyncio.wait_for(self._process.wait(), EVENT_LIMIT)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._pipe.close()

    async def expect(self, event: str) -> None:
        """Wait for the next event, which must be this one."""
        line = await asyncio.wait_for(self._events.readline(), EVENT_LIMIT)
        output = (self.folder / "output.log").read_text(errors="replace")
        assert line.decode().strip() == event, f"expected {event}, got {line!r}; output:\n{output[-3000:]}"

    async def tell(self, word: str) -> None:
        """Give the phone a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()


def main() -> None:
    """Be the phone until `quit` or the end of stdin."""
    import pjsua2 as pj

    settings = json.loads(sys.argv[1])
    library = _native_library(pj)
    happened: deque[tuple[str, object]] = deque()

    class Phone(pj.Account):
        def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: N802
            with contextlib.suppress(BaseException):
                happened.append(("invite", (Conversation(self, prm.callId), prm.rdata.wholeMsg)))

        def onRegState(self, prm: pj.OnRegStateParam) -> None:  # noqa: N802
            with contextlib.suppress(BaseException):
                happened.append(("registered", int(prm.code)))

    class Conversation(pj.Call):
        def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:  # noqa: N802
            with contextlib.suppress(BaseException):
                happened.append(("media", None))

        def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: N802
            with contextlib.suppress(BaseException):
                happened.append(("state", None))

    endpoint = _start_endpoint(pj)
    phone = Phone()
    phone.create(_account(pj, settings))
    _Handset(pj, library, endpoint, settings).run(happened)


class _Handset:
    """The loop of the phone: one thread makes every call into pjsua2."""

    def __init__(self, pj: object, library: ctypes.CDLL, endpoint: object, settings: dict[str, object]) -> None:
        self._pj, self._library, self._endpoint = pj, library, endpoint
        self._events = int(str(settings["events"]))
        folder = Path(str(settings["folder"]))
        _write_tone(folder / "tone.wav", int(str(settings["tone"])))
        self._player = self._file_port("player", folder / "tone.wav")
        self._recorder = self._file_port("recorder", folder / "heard.wav")
        self._call: object = None

    def run(self, happened: deque[tuple[str, object]]) -> None:
        """Pump pjsua2 and follow commands until told to quit."""
        while True:
            self._library.pjsua_handle_events(20)
            while happened:
                kind, value = happened.popleft()
                getattr(self, f"_on_{kind}")(value)
            if select.select([sys.stdin], [], [], 0)[0] and not self._follow(sys.stdin.readline().strip()):
                break
        self._endpoint.hangupAllCalls()  # type: ignore[attr-defined]
        for _ in range(15):
            self._library.pjsua_handle_events(20)
        # The recorder writes its file's header when it is destroyed; libDestroy would abort (a Call is alive).
        self._library.pjsua_recorder_destroy(self._recorder_id)
        os._exit(0)

    def _follow(self, command: str) -> bool:
        if command == "hangup":
            self._call.hangup(self._pj.CallOpParam())  # type: ignore[attr-defined]
        return command not in {"quit", ""}

    def _on_registered(self, code: object) -> None:
        self._tell("registered" if code == 200 else f"refused {code}")

    def _on_invite(self, value: object) -> None:
        self._call, message = value  # type: ignore[misc]
        parameters = self._pj.CallOpParam()  # type: ignore[attr-defined]
        wanted = any(
            line.lower().startswith("call-info:") and "answer-after=0" in line for line in str(message).splitlines()
        )
        parameters.statusCode = self._pj.StatusCode(200 if wanted else 180)  # type: ignore[attr-defined]
        self._call.answer(parameters)  # type: ignore[attr-defined]
        self._tell("answered" if wanted else "rings")

    def _on_media(self, _value: object) -> None:
        info = self._call.info  # type: ignore[attr-defined]
        for media in info.media:
            if media.audioConfSlot >= 0 and media.status == self._pj.CallMediaStatus.ACTIVE:  # type: ignore[attr-defined]
                self._library.pjsua_conf_connect(self._player, media.audioConfSlot)
                self._library.pjsua_conf_connect(media.audioConfSlot, self._recorder)
                self._tell("media")

    def _on_state(self, _value: object) -> None:
        if not self._call.active:  # type: ignore[attr-defined]
            self._tell("closed")

    def _tell(self, word: str) -> None:
        os.write(self._events, f"{word}\n".encode())

    def _file_port(self, kind: str, path: Path) -> int:
        """Open a player or recorder of a WAV file and return its conference port."""
        name = str(path).encode()
        text = _PjString(name, len(name))
        number = ctypes.c_int(-1)
        if kind == "player":
            done = self._library.pjsua_player_create(ctypes.byref(text), 0, ctypes.byref(number))
        else:
            done = self._library.pjsua_recorder_create(
                ctypes.byref(text), 0, None, ctypes.c_ssize_t(0), 0, ctypes.byref(number)
            )
            self._recorder_id = number.value
        assert done == 0, f"{kind}: pjsip status {done}"
        port: int = getattr(self._library, f"pjsua_{kind}_get_conf_port")(number.value)
        return port


class _PjString(ctypes.Structure):
    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))


def _native_library(pj: object) -> ctypes.CDLL:
    """Load the wheel's own libpjsua, whose functions the binding leaves out."""
    folder = Path(str(pj.__file__)).parent / "pjsua2_pybind11.libs"  # type: ignore[attr-defined]
    return ctypes.CDLL(str(next(folder.glob("libpjsua-*.so.2"))))


def _start_endpoint(pj: object) -> object:
    endpoint = pj.Endpoint()  # type: ignore[attr-defined]
    endpoint.libCreate()
    config = pj.EpConfig()  # type: ignore[attr-defined]
    config.uaConfig.threadCnt = 0
    config.medConfig.hasIoqueue = False
    config.medConfig.threadCnt = 0
    config.medConfig.clockRate = RATE
    config.medConfig.ecTailLen = 0
    config.medConfig.noVad = True
    config.logConfig.level = config.logConfig.consoleLevel = 4
    endpoint.libInit(config)
    transport = pj.TransportConfig()  # type: ignore[attr-defined]
    transport.boundAddress = "127.0.0.1"
    endpoint.transportCreate(pj.TransportType.UDP, transport)  # type: ignore[attr-defined]
    endpoint.libStart()
    endpoint.audDevManager.setNullDev()
    return endpoint


def _account(pj: object, settings: dict[str, object]) -> object:
    config = pj.AccountConfig()  # type: ignore[attr-defined]
    config.idUri = f"sip:{settings['username']}@{settings['realm']}"
    config.regConfig.registrarUri = f"sip:{settings['realm']}"
    config.regConfig.timeoutSec = 60
    proxies = config.sipConfig.proxies
    proxies.append(f"sip:{settings['registrar']};lr")
    credentials = config.sipConfig.authCreds
    credentials.append(pj.AuthCredInfo("digest", "*", settings["username"], 0, settings["password"]))  # type: ignore[attr-defined]
    return config


def _write_tone(path: Path, frequency: int) -> None:
    """Write one second of the tone, of whole periods so that it loops without a click."""
    step = 2 * math.pi * frequency / RATE
    samples = array("h", (round(8000 * math.sin(step * index)) for index in range(RATE)))
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        recording.writeframes(samples.tobytes())


if __name__ == "__main__":
    main()
