"""Phones that do one odd thing, played by SIPp: a test says step by step what they wait for and what they send.

SIPp ends with status 0 where every step came as it was to, so the phone itself is half of each test.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from daemon.demo_phones import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STEP_LIMIT = 10.0
"""Seconds in which a phone is through with its steps, unless it says that it takes longer."""
HOST = "127.0.0.1"
COMMAND = (
    "sipp", "-sf", "odd.xml", "-i", HOST, "-m", "1", "-nostdin", "-default_behaviors", "none",
    "-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log",
)  # fmt: skip
LAST = ("[last_Via:]", "[last_To:]", "[last_CSeq:]")
CHALLENGE = 'Digest realm="pbx", nonce="f84f1cec41e6cbe5aea9c8e88d359", algorithm=MD5, qop="auth"'
SDP = """
v=0
o=odd 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
"""


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for a request, however many times; with `password`, it must hold the answer to CHALLENGE by it."""

    method: str
    username: str = ""
    password: str = ""
    has: str = ""
    """A regular expression that must be found in the request."""

    def xml(self, step: int) -> str:
        if self.password:
            who = f'username="{self.username}" password="{self.password}"'
            action = f'<action><verifyauth assign_to="good{step}" {who}/></action>'
            # With a wrong answer it waits for what nobody sends, and is never through.
            check = f'<nop test="good{step}" next="{step}"/><recv request="NEVER"/><label id="{step}"/>'
            return f'<recv request="{self.method}">{action}</recv>{check}'
        if self.has:
            found = f'<ereg regexp="{escape(self.has)}" search_in="msg" check_it="true" assign_to="has{step}"/>'
            return f'<recv request="{self.method}"><action>{found}</action></recv><Reference variables="has{step}"/>'
        noted = f"<action>{NOTED}</action>" if self.method == "INVITE" else ""
        return f'<recv request="{self.method}">{noted}</recv>'


@dataclass(frozen=True, slots=True)
class Say:
    """Answer the last request, or the last INVITE although others came after it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    tag: str = "odd"
    sdp: bool = False
    invite: bool = False

    def xml(self, _step: int) -> str:
        via, to, cseq = ("Via: [$via]", "To: [$local]", "CSeq: [$cseq]") if self.invite else LAST
        tag = f";tag={self.tag}" if self.tag else ""
        lines = [f"SIP/2.0 {self.status} Odd", via, "[last_From:]", to + tag, "[last_Call-ID:]", cseq]
        headers = {"Contact": "<sip:odd@[local_ip]:[local_port]>", **self.headers}
        lines += [f"{name}: {value}" for name, value in headers.items()]
        body = SDP if self.sdp else "\n"
        lines += ["Content-Type: application/sdp"] if self.sdp else []
        text = "\n".join([*lines, "Content-Length: [len]"]) + "\n" + body
        return f"<send><![CDATA[\n{text}\n]]></send>"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request within the dialog, with a CSeq of one's own, and have it answered."""

    method: str
    cseq: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    sdp: str = ""
    """The direction of a description to offer; empty for none."""
    status: int = 200
    has: str = ""
    """A regular expression that must be found in the answer."""

    def xml(self, step: int) -> str:
        body = f"{SDP.rstrip()}\na={self.sdp}\n" if self.sdp else "\n"
        headers = {**self.headers, **({"Content-Type": "application/sdp"} if self.sdp else {})}
        request = "\n".join([*self._head(self.method), *(f"{name}: {value}" for name, value in headers.items())])
        found = f'<ereg regexp="{escape(self.has)}" search_in="msg" check_it="true" assign_to="has{step}"/>'
        action = f"<action>{found}</action>" if self.has else ""
        asked = f'<send retrans="500"><![CDATA[\n{request}\nContent-Length: [len]\n{body}\n]]></send>'
        provisional = '<recv response="100" optional="true"/>' if self.method == "INVITE" else ""
        answered = f'{provisional}<recv response="{self.status}">{action}</recv>'
        if self.has:
            answered += f'<Reference variables="has{step}"/>'
        if self.method == "INVITE":
            acknowledgement = "\n".join(self._head("ACK"))
            answered += f"<send><![CDATA[\n{acknowledgement}\nContent-Length: 0\n\n]]></send>"
        return asked + answered

    def _head(self, method: str) -> list[str]:
        return [
            f"{method} [next_url] SIP/2.0",
            "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]",
            "Max-Forwards: 70",
            "From: [$local];tag=odd",
            "To: [$remote]",
            "[last_Call-ID:]",
            f"CSeq: {self.cseq} {method}",
            "Contact: <sip:odd@[local_ip]:[local_port]>",
        ]


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float

    def xml(self, _step: int) -> str:
        return f'<pause milliseconds="{int(self.seconds * 1000)}"/>'


NOTED = (
    '<ereg regexp="SIP/2[[:print:]]*" search_in="hdr" header="Via:" check_it="true" assign_to="via"/>'
    '<ereg regexp="[0-9]+ INVITE" search_in="hdr" header="CSeq:" check_it="true" assign_to="cseq"/>'
)
INVITED = (
    '<recv request="INVITE" rrs="true"><action>'
    '<ereg regexp="&lt;[^&gt;]*&gt;" search_in="hdr" header="To:" check_it="true" assign_to="local"/>'
    '<ereg regexp="&lt;sip[[:print:]]*" search_in="hdr" header="From:" check_it="true" assign_to="remote"/>'
    f'{NOTED}</action></recv><Reference variables="local,remote,via,cseq"/>'
)
ANSWER = (Say(180), Say(200, sdp=True), Await("ACK"))
"""Ring, answer, and hear that it was heard."""
JOINED = (Await("INVITE"), Say(200, sdp=True, tag=""), Await("ACK"))
"""Hear of the other's media."""
ENDED = (Await("BYE"), Say(200, tag=""))
"""Be hung up on."""
BUSY = (Say(486), Await("ACK"))


class OddPhone:
    """One call of one SIPp. Make it, and ask `done` at the end."""

    def __init__(self, folder: Path, steps: Sequence[Await | Say | Ask | Pause], *, port: int = 0) -> None:
        self.port = port or free_port()
        self._folder = folder
        folder.mkdir(parents=True)
        xml = "".join(step.xml(number) for number, step in enumerate(steps))
        (folder / "odd.xml").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?><scenario name="odd">{INVITED}{xml}</scenario>'
        )
        self._process = subprocess.Popen(
            [*COMMAND, "-p", str(self.port), "-mp", str(free_port())],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def uri(self) -> str:
        """Where it is called."""
        return f"sip:odd@{HOST}:{self.port}"

    def done(self, *, limit: float = STEP_LIMIT) -> None:
        """Wait until it is through; fail where a step did not come."""
        try:
            status = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            status = -1
        if status != 0:
            self.stop()
            raise AssertionError(f"SIPp ended with {status}:\n{self._read('errors.log')}\n{self._read('messages.log')}")

    def stop(self) -> None:
        """End it, without a word to anybody."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def heard(self) -> str:
        """Return all that was said, for a test that looks closer."""
        return self._read("messages.log")

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""
