"""A real SIP phone that runs headless: Debian's baresip, driven over its `ctrl_tcp` module.

Rule: nothing here knows Roost. The phone is told an address and credentials, as a person would tell it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import secrets
import shutil
import socket
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

PORTS = range(10_000, 32_000)
"""Where `free_port` looks."""
START_LIMIT = 10.0
"""Seconds that baresip may take to open its control port."""
COMMAND_LIMIT = 5.0
"""Seconds that baresip may take to answer a command."""
EVENT_LIMIT = 10.0
"""Seconds that an expected event may take, unless the caller says otherwise."""
STOP_LIMIT = 5.0
"""Seconds that baresip may take to unregister and leave before it is killed."""
MODULE_PATHS = (
    "/usr/lib/baresip/modules",
    "/usr/lib/x86_64-linux-gnu/baresip/modules",
    "/usr/local/lib/baresip/modules",
)

CONFIG = """\
module_path {modules}
sip_listen 127.0.0.1:{sip_port}
net_interface 127.0.0.1
audio_source ausine,{tone}
audio_player aubridge,ear
audio_alert aubridge,bell
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
snd_path {folder}
call_max_calls 4
module g711.so
module g722.so
module ausine.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control_port}
"""


class PhoneFailed(Exception):
    """The phone refused a command, or did not do in time what was expected of it."""


@dataclass(frozen=True, slots=True)
class PhoneAccount:
    """What a person types into a phone."""

    username: str
    password: str
    realm: str
    """The domain of the AOR."""
    registrar: str
    """Host and port that requests go to."""
    transport: str = "udp"
    expires: int = 60
    """Seconds; baresip refreshes well before. 0 does not register at all."""
    answers: bool = True
    """Answer every call at once; otherwise it rings until `accept`."""
    codecs: Sequence[str] = ()
    """Such as `PCMU` or `G722/16000/1`; none offers all that the phone has."""

    @property
    def aor(self) -> str:
        """The address of record, without parameters."""
        return f"sip:{self.username}@{self.realm}"

    def line(self) -> str:
        """Return the account as baresip's `accounts` file has it."""
        parts = [
            f"<{self.aor};transport={self.transport}>",
            f'outbound="sip:{self.registrar};transport={self.transport}"',
            f"auth_user={self.username}",
            f"auth_pass={self.password}",
            f"regint={self.expires}",
            f"answermode={'auto' if self.answers else 'manual'}",
        ]
        if self.codecs:
            parts.append(f"audio_codecs={','.join(self.codecs)}")
        return ";".join(parts)


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """An event as baresip tells it: `REGISTER_OK`, `CALL_ESTABLISHED`, `CALL_CLOSED`, ..."""

    kind: str
    aor: str
    peer: str
    call_id: str
    detail: str


def baresip_path() -> str | None:
    """Return where baresip is installed, or None."""
    return shutil.which("baresip")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses, by UDP or TCP; nor the one after it, which baresip takes for TLS.

    It is below those that Linux gives to outgoing connections, so none of them takes it in the meantime.
    """
    while True:
        port = PORTS.start + 2 * secrets.randbelow(len(PORTS) // 2)
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for number, kind in itertools.product((port, port + 1), kinds):
                probes.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", number))
            return port


class Baresip:
    """One baresip process with a folder of its own.

    It plays a tone (`tone` Hz) into every call and writes what it hears to WAV files; its SIP messages are in
    `transcript`. Use it as an asynchronous context manager.
    """

    def __init__(self, folder: Path, *, tone: int = 440, lifetime: int = 300) -> None:
        self.folder = folder
        self.tone = tone
        self.lifetime = lifetime
        """Seconds after which the process ends by itself, whatever became of us."""
        self.sip_port = 0
        """Where the phone listens on 127.0.0.1, UDP and TCP; chosen by `start`."""
        self._process: Process | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._unclaimed: deque[PhoneEvent] = deque(maxlen=1000)
        self._arrived = asyncio.Condition()
        self._answers: dict[str, asyncio.Future[tuple[bool, str]]] = {}
        self._serial = 0

    async def __aenter__(self) -> Baresip:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the process and connect to its control port. Raises PhoneFailed."""
        path, modules = baresip_path(), _module_folder()
        if path is None or modules is None:
            raise PhoneFailed("baresip is not installed (apt-get install baresip-core)")
        control_port, self.sip_port = free_port(), free_port()
        self._write_configuration(modules, control_port)
        with self._output_path.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                path, "-f", str(self.folder), "-s", "-t", str(self.lifetime),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            reader, self._writer = await asyncio.wait_for(_connect(control_port), START_LIMIT)
        except (TimeoutError, asyncio.TimeoutError) as error:
            await self.stop()
            raise PhoneFailed(f"baresip did not start: {self.transcript()[-500:]}") from error
        self._reader_task = asyncio.create_task(self._read(reader), name="baresip-control")

    async def stop(self) -> None:
        """Let the phone unregister and leave; kill it if it does not."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(PhoneFailed, ProcessLookupError):
                if self._writer is not None:
                    self._send("quit", "", "stop")
                else:
                    process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_LIMIT)
            except (TimeoutError, asyncio.TimeoutError):
                process.kill()
                await process.wait()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._reader_task is not None:
            self._reader_task.cancel()
            await asyncio.gather(self._reader_task, return_exceptions=True)
            self._reader_task = None

    async def kill(self) -> None:
        """End the process at once, as a power cut does: nothing is unregistered."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self.stop()

    async def add_account(self, account: PhoneAccount) -> None:
        """Add the account; the phone registers it at once if it has an expiry."""
        await self.command("uanew", account.line())

    async def register(self, account: PhoneAccount, *, limit: float = EVENT_LIMIT) -> None:
        """Add the account and wait until it is registered. Raises PhoneFailed where it is refused."""
        await self.add_account(account)
        event = await self.expect("REGISTER_OK", "REGISTER_FAIL", limit=limit)
        if event.kind == "REGISTER_FAIL":
            raise PhoneFailed(f"{account.aor} was not registered: {event.detail}")

    async def unregister(self, account: PhoneAccount) -> None:
        """Remove the account; the phone sends its un-REGISTER and returns before the answer."""
        await self.command("uadel", account.aor)

    async def command(self, name: str, params: str = "") -> str:
        """Run a command of baresip's menu (`dial`, `hangup`, `accept`, `listcalls`, ...) and return its text.

        Raises PhoneFailed where the phone says no or says nothing.
        """
        self._serial += 1
        token = str(self._serial)
        answer: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        try:
            self._send(name, params, token)
            ok, text = await asyncio.wait_for(answer, COMMAND_LIMIT)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise PhoneFailed(f"baresip did not answer {name!r}") from error
        finally:
            del self._answers[token]
        if not ok:
            raise PhoneFailed(f"baresip refused {name!r}: {text.strip()}")
        return text

    async def expect(self, *kinds: str, limit: float = EVENT_LIMIT) -> PhoneEvent:
        """Return the oldest event of one of these kinds that nobody was given yet, waiting for it if need be."""
        try:
            return await asyncio.wait_for(self._claim(kinds), limit)
        except (TimeoutError, asyncio.TimeoutError) as error:
            seen = ", ".join(event.kind for event in self._unclaimed) or "nothing"
            raise PhoneFailed(f"expected {' or '.join(kinds)} within {limit:g} s, saw {seen}") from error

    async def notify_answer(self, *, limit: float = EVENT_LIMIT) -> str:
        """Return the phone's answer to the NOTIFY that it got or gets, such as `481 Subscription Does Not Exist`."""
        try:
            return await asyncio.wait_for(self._see_answer("NOTIFY"), limit)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise PhoneFailed(f"no NOTIFY was answered within {limit:g} s") from error

    async def talks(self) -> None:
        """Wait until the phone is in a call."""
        await self.expect("CALL_ESTABLISHED")

    async def hang_up(self) -> None:
        """End the call."""
        await self.command("hangup")

    async def hung_up(self) -> None:
        """Wait until the call has ended."""
        await self.expect("CALL_CLOSED")

    def transcript(self) -> str:
        """Return everything the phone printed, with every SIP message it sent or received."""
        return self._output_path.read_text(encoding="utf-8", errors="replace") if self._output_path.exists() else ""

    def recordings(self) -> list[Path]:
        """Return the WAV files of what the phone heard, oldest first; a media change begins a new one."""
        return sorted(self.folder.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime)

    @property
    def _output_path(self) -> Path:
        return self.folder / "baresip.out"

    def _write_configuration(self, modules: str, control_port: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(
            modules=modules, tone=self.tone, folder=self.folder, sip_port=self.sip_port, control_port=control_port
        )
        (self.folder / "config").write_text(text, encoding="utf-8")
        # Without these files baresip writes templates of its own, with accounts in them.
        (self.folder / "accounts").write_text("", encoding="utf-8")
        (self.folder / "contacts").write_text("", encoding="utf-8")

    def _send(self, name: str, params: str, token: str) -> None:
        if self._writer is None or self._writer.is_closing():
            raise PhoneFailed("baresip is not running")
        text = json.dumps({"command": name, "params": params, "token": token}).encode()
        self._writer.write(b"%d:%s," % (len(text), text))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                text = (await reader.readexactly(length + 1))[:-1]
                await self._take(json.loads(text))

    async def _take(self, message: dict[str, object]) -> None:
        if message.get("response"):
            answer = self._answers.get(str(message.get("token")))
            if answer is not None and not answer.done():
                answer.set_result((bool(message.get("ok")), str(message.get("data", ""))))
            return
        names = ("type", "accountaor", "peeruri", "id", "param")
        event = PhoneEvent(*(str(message.get(name, "")) for name in names))
        async with self._arrived:
            self._unclaimed.append(event)
            self._arrived.notify_all()

    async def _see_answer(self, method: str) -> str:
        pattern = re.compile(
            rf"^SIP/2\.0 ([2-6]\d\d [^\r\n]*)(?:\r?\n[^\r\n]+)*\r?\nCSeq: \d+ {method}\r?$", re.MULTILINE
        )
        while True:
            found = pattern.findall(self.transcript())
            if found:
                return str(found[-1])
            await asyncio.sleep(0.05)

    async def _claim(self, kinds: Sequence[str]) -> PhoneEvent:
        async with self._arrived:
            while True:
                for event in self._unclaimed:
                    if event.kind in kinds:
                        self._unclaimed.remove(event)
                        return event
                await self._arrived.wait()


def _module_folder() -> str | None:
    return next((folder for folder in MODULE_PATHS if Path(folder).is_dir()), None)


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
