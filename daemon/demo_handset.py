"""A pjsua2 phone as a program: registers, answers calls and NOTIFYs, plays a tone and records (see `demo_pjsua`).

Rule: nobody imports this. pjsua2 may abort its process and prints to stdout; one thread makes every call into it, and
a callback of its only notes what happened, for an exception out of one aborts too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from daemon.demo_phones import PhoneAccount, PhoneFailed
from daemon.demo_tone import write_tone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RATE = 8000
PUMP = 20
"""Milliseconds that pjsua2 may wait for a packet before commands are looked at."""
FAREWELL = 25
"""Turns of the pump after `quit`: time for a BYE and an un-REGISTER to be answered."""
COMMANDS = 0
"""File descriptor that commands come from."""

Happened = deque[tuple[str, Any]]


class _String(ctypes.Structure):
    """pj_str_t."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))


_RECEIVED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _Module(ctypes.Structure):
    """pjsip_module: where a request goes that nobody before took."""

    _fields_ = (
        ("prev", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
        ("name", _String),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("life", ctypes.c_void_p * 4),
        ("on_rx_request", _RECEIVED),
        ("rest", ctypes.c_void_p * 4),
    )


class Conversation(pj.Call):
    """A call that notes what happens to it."""

    def __init__(self, account: pj.Account, call_id: int, happened: Happened) -> None:
        super().__init__(account, call_id)
        self._happened = happened

    def onCallMediaState(self, _prm: pj.OnCallMediaStateParam) -> None:  # noqa: D102, N802
        self._happened.append(("media", None))

    def onCallState(self, _prm: pj.OnCallStateParam) -> None:  # noqa: D102, N802
        self._happened.append(("state", None))


class Line(pj.Account):
    """An account that notes its registration and its calls."""

    def __init__(self, happened: Happened) -> None:
        super().__init__()
        self._happened = happened

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:  # noqa: D102, N802
        with contextlib.suppress(BaseException):
            call = Conversation(self, prm.callId, self._happened)
            self._happened.append(("invite", (call, prm.rdata.wholeMsg)))

    def onRegState(self, prm: pj.OnRegStateParam) -> None:  # noqa: D102, N802
        with contextlib.suppress(BaseException):
            self._happened.append(("registration", int(prm.code)))


class Handset:
    """The phone inside its own process: one thread, which makes every call into pj."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._account = PhoneAccount(**settings["account"])
        self._tone: int = settings["tone"]
        self._folder = Path(settings["folder"])
        self._events: int = settings["events"]
        libraries = Path(pj.__file__).parent / "pjsua2_pybind11.libs"
        self._pjsua = ctypes.CDLL(str(next(libraries.glob("libpjsua-*.so.2"))))
        self._pjsip = ctypes.CDLL(str(next(libraries.glob("libpjsip-[0-9a-f]*.so.2"))))
        self._happened: Happened = deque()
        self._call: pj.Call | None = None
        self._running = True
        self._handlers: Mapping[str, Callable[[Any], None]] = {
            "invite": self._on_invite,
            "media": self._on_media,
            "state": self._on_state,
            "registration": self._on_registration,
            "notify": self._on_notify,
        }

    def run(self) -> None:
        """Be the phone until `quit` or the end of stdin."""
        endpoint = self._start_endpoint()
        self._answer_notifies()
        write_tone(self._folder / "tone.wav", self._tone, RATE)
        self._player, _ = self._open("player", "tone.wav")
        self._recorder, recorder_id = self._open("recorder", "heard.wav")
        phone = self._make_account()
        while self._running:
            self._turn()
        endpoint.hangupAllCalls()
        phone.setRegistration(False)
        for _ in range(FAREWELL):
            self._pjsua.pjsua_handle_events(PUMP)
        # The recorder completes its file when it is destroyed; libDestroy would abort, for a Call may be alive.
        self._pjsua.pjsua_recorder_destroy(recorder_id)
        os._exit(0)

    def _turn(self) -> None:
        self._pjsua.pjsua_handle_events(PUMP)
        while self._happened:
            kind, value = self._happened.popleft()
            self._handlers[kind](value)
        if select.select([COMMANDS], [], [], 0)[0]:
            commands = os.read(COMMANDS, 4096).split()
            if b"hangup" in commands and self._call is not None:
                self._call.hangup(pj.CallOpParam())
            self._running = bool(commands) and b"quit" not in commands

    def _on_invite(self, value: tuple[pj.Call, str]) -> None:
        self._call, message = value
        answered = self._account.answers or _asks_for_an_answer(message)
        parameters = pj.CallOpParam()
        parameters.statusCode = pj.StatusCode(200 if answered else 180)
        self._call.answer(parameters)
        self._tell("call", answered)

    def _on_media(self, _value: None) -> None:
        if self._call is None:
            return
        info = self._call.info
        for media in info.media:
            if media.audioConfSlot >= 0 and media.status == pj.CallMediaStatus.ACTIVE:
                self._pjsua.pjsua_conf_connect(self._player, media.audioConfSlot)
                self._pjsua.pjsua_conf_connect(media.audioConfSlot, self._recorder)
                self._tell("media", None)

    def _on_state(self, _value: None) -> None:
        if self._call is not None and not self._call.active:
            self._tell("closed", None)

    def _tell(self, kind: str, value: object) -> None:
        os.write(self._events, f"{json.dumps([kind, value])}\n".encode())

    def _on_registration(self, code: int) -> None:
        self._tell("registration", code)

    def _on_notify(self, answer: str) -> None:
        self._tell("notify", answer)

    def _start_endpoint(self) -> pj.Endpoint:
        self._endpoint = endpoint = pj.Endpoint()
        endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.medConfig.hasIoqueue = False
        config.medConfig.threadCnt = 0
        config.medConfig.clockRate = RATE
        config.medConfig.ecTailLen = 0
        config.medConfig.noVad = True
        config.logConfig.level = config.logConfig.consoleLevel = 4
        endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.boundAddress = "127.0.0.1"
        endpoint.transportCreate(pj.TransportType.UDP, transport)
        endpoint.libStart()
        endpoint.audDevManager.setNullDev()
        return endpoint

    def _make_account(self) -> pj.Account:
        config = pj.AccountConfig()
        config.idUri = self._account.aor
        config.regConfig.registrarUri = f"sip:{self._account.realm}"
        config.regConfig.timeoutSec = self._account.expires
        config.sipConfig.proxies.append(f"sip:{self._account.registrar};lr")
        login = pj.AuthCredInfo("digest", "*", self._account.username, 0, self._account.password)
        config.sipConfig.authCreds.append(login)
        line = Line(self._happened)
        line.create(config)
        return line

    def _open(self, kind: str, name: str) -> tuple[int, int]:
        """Open a player or recorder of a WAV file; return its conference port and its id."""
        path = str(self._folder / name).encode()
        text, number = _String(path, len(path)), ctypes.c_int(-1)
        options = (0,) if kind == "player" else (0, None, ctypes.c_ssize_t(0), 0)
        status = getattr(self._pjsua, f"pjsua_{kind}_create")(ctypes.byref(text), *options, ctypes.byref(number))
        if status != 0:
            raise PhoneFailed(f"{kind} of {name}: pjsip status {status}")
        port: int = getattr(self._pjsua, f"pjsua_{kind}_get_conf_port")(number.value)
        return port, number.value

    def _answer_notifies(self) -> None:
        """Answer every NOTIFY that pjsua has no use for with 200, as desk phones do; alone it says nothing at all."""
        self._pjsua.pjsua_get_pjsip_endpt.restype = ctypes.c_void_p
        self._pjsip.pjsip_rx_data_get_info.restype = ctypes.c_char_p
        endpoint = ctypes.c_void_p(self._pjsua.pjsua_get_pjsip_endpt())

        def received(rdata: int) -> int:
            pointer = ctypes.c_void_p(rdata)
            if b" NOTIFY/" not in self._pjsip.pjsip_rx_data_get_info(pointer):
                return 0
            self._pjsip.pjsip_endpt_respond_stateless(endpoint, pointer, 200, None, None, None)
            self._happened.append(("notify", "200 OK"))
            return 1

        # The structure and its callback must live as long as the endpoint.
        self._module = _Module(name=_String(b"mod-notify", 10), id=-1, priority=96, on_rx_request=_RECEIVED(received))
        status = self._pjsip.pjsip_endpt_register_module(endpoint, ctypes.byref(self._module))
        if status != 0:
            raise PhoneFailed(f"mod-notify: pjsip status {status}")


def _asks_for_an_answer(message: str) -> bool:
    return any(
        line.lower().startswith("call-info:") and "answer-after=0" in line.lower() for line in message.splitlines()
    )


def main() -> None:
    """Be the phone whose settings are in the file that is named."""
    Handset(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()


if __name__ == "__main__":
    main()
