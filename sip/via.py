"""Via: where a response goes, and what a server writes there about the source (RFC 3261 18.2, 20.42; RFC 3581)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sip.errors import ParseError
from sip.headers import PLAIN, Params, param_of, parse_params_verbatim

MAGIC_COOKIE: Final = "z9hG4bK"
"""What the branch of every RFC 3261 request begins with (RFC 3261 8.1.1.7)."""

_HOST = r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"
_SENT: Final = re.compile(
    r"\s*SIP\s*/\s*[0-9]\.[0-9]\s*/\s*(?P<transport>[A-Za-z0-9.!%*_+`'~-]+)\s+"
    rf"(?P<host>{_HOST})\s*(?::\s*(?P<port>[0-9]{{1,5}})\s*)?\Z"
)
_USUAL: Final = re.compile(  # as nearly every phone writes it
    rf"SIP/2\.0/([A-Z]+) ((?:{_HOST})(?::([0-9]{{1,5}})|))(;rport|);branch=([{PLAIN}]+)(;rport|)\Z"
)


@dataclass(slots=True, init=False)
class Via:
    """One Via value."""

    text: str
    """All of it, without needless white space."""
    transport: str
    """In upper case; may be one that we do not know."""
    sent_by: str
    """Host and port as the client named itself: part of the transaction's key."""
    port: int | None
    """That of sent-by."""
    branch: str | None
    """None where an RFC 2543 client sent none."""
    asks_rport: bool
    """Whether the client wants the answer where the request came from (RFC 3581 3)."""
    before_rport: str
    """The text up to the place of `rport`, or all of it, without `received`."""
    after_rport: str

    def __init__(
        self,
        text: str,
        transport: str,
        sent_by: str,
        port: int | None,
        branch: str | None,
        before_rport: str,
        after_rport: str,
        *,
        asks_rport: bool,
    ) -> None:
        self.text = text
        self.transport = transport
        self.sent_by = sent_by
        self.port = port
        self.branch = branch
        self.asks_rport = asks_rport
        self.before_rport = before_rport
        self.after_rport = after_rport

    @staticmethod
    def parse(text: str) -> Via:
        """Parse one Via value. Raises ParseError."""
        usual = _USUAL.match(text)
        if usual is None:
            return _parse(text)
        transport, sent_by, digits, rport, branch, rport_behind = usual.groups()
        if rport and rport_behind:
            return _parse(text)
        if rport:
            before, after = f"SIP/2.0/{transport} {sent_by}", f";branch={branch}"
        else:
            before, after = text.removesuffix(";rport"), ""
        asks_rport = bool(rport or rport_behind)
        port = _port(digits) if digits else None
        return Via(text, transport, sent_by.lower(), port, branch, before, after, asks_rport=asks_rport)

    @property
    def host(self) -> str:
        """The sent-by host in lower case, without brackets."""
        return (self.sent_by if self.port is None else self.sent_by.rpartition(":")[0]).strip("[]")

    @property
    def params(self) -> Params:
        """All parameters, with the quotes that values have."""
        _, semicolon, params = self.text.partition(";")
        return parse_params_verbatim(semicolon + params)

    def param(self, name: str) -> str | None:
        """Return the value of a parameter; empty for a flag, None where it is absent."""
        return param_of(self.params, name)

    def marked(self, host: str, port: int) -> str:
        """Return the Via's text with the source that the server saw: `received`, and `rport` where it was asked for.

        What the client itself wrote in `received` is replaced, for it is not the client's to say.
        """
        # RFC 3581 4: with rport, MUST add "received" always.
        if self.asks_rport:
            return f"{self.before_rport};rport={port}{self.after_rport};received={_bare(host)}"
        # RFC 3261 18.2.1: MUST add "received" if sent-by is a name or differs from the source.
        return self.before_rport if self.host == host else f"{self.before_rport};received={_bare(host)}"

    def reply_port(self, port: int) -> int:
        """Return where a response goes by datagram, at the source's host: to its port, or without rport to sent-by's.

        `maddr` is not followed: a response must not be steered to a third host (RFC 3261 18.2.2).
        """
        return port if self.asks_rport else self.port or 5060

    def __str__(self) -> str:
        return self.text


def _parse(text: str) -> Via:
    sent, semicolon, rest = text.partition(";")
    match = _SENT.match(sent)
    if match is None:
        raise ParseError("malformed Via")
    transport, host, digits = match.groups()
    params = parse_params_verbatim(semicolon + rest)
    sent_by = f"{host}:{digits}" if digits else host
    start = f"SIP/2.0/{transport.upper()} {sent_by}"
    names = [name for name, _ in params]
    place = names.index("rport") if "rport" in names else len(params)
    return Via(
        start + _text_of(params),
        transport.upper(),
        sent_by.lower(),
        _port(digits) if digits else None,
        param_of(params, "branch") or None,
        start + _text_of(_clients_own(params[:place])),
        _text_of(_clients_own(params[place:])),
        asks_rport=place < len(params),
    )


def _port(digits: str) -> int:
    port = int(digits)
    if port > 65535:
        raise ParseError("the port of the Via is out of range")
    return port


def _clients_own(params: Params) -> Params:
    return tuple((name, value) for name, value in params if name not in ("rport", "received"))


def _text_of(params: Params) -> str:
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def _bare(host: str) -> str:
    """Leave the zone of a link-local address away, which means nothing elsewhere."""
    return host.partition("%")[0]
