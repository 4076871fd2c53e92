"""Via: where a response goes, and what a server writes there about the source (RFC 3261 18.2, 20.42; RFC 3581)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sip.errors import ParseError
from sip.flow import Address
from sip.headers import Params, param_of, parse_params_verbatim

MAGIC_COOKIE = "z9hG4bK"
"""What the branch of every RFC 3261 request begins with (RFC 3261 8.1.1.7)."""

_SENT = re.compile(
    r"\s*SIP\s*/\s*[0-9]\.[0-9]\s*/\s*(?P<transport>[A-Za-z0-9.!%*_+`'~-]+)\s+"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)\s*(?::\s*(?P<port>[0-9]{1,5})\s*)?\Z"
)


class Via(NamedTuple):
    """One Via value."""

    transport: str
    """In upper case; may be one that we do not know."""
    host: str
    """The sent-by host, without brackets."""
    port: int | None
    params: Params
    """With the quotes that values have, for what a response repeats must not change."""

    @staticmethod
    def parse(text: str) -> Via:
        """Parse one Via value. Raises ParseError."""
        sent, semicolon, params = text.partition(";")
        match = _SENT.match(sent)
        if match is None:
            raise ParseError("malformed Via")
        transport, host, digits = match.groups()
        port = int(digits) if digits else None
        if port is not None and port > 65535:
            raise ParseError("the port of the Via is out of range")
        return Via(transport.upper(), host.strip("[]"), port, parse_params_verbatim(semicolon + params))

    def param(self, name: str) -> str | None:
        """Return the value of a parameter; empty for a flag, None where it is absent."""
        return param_of(self.params, name)

    @property
    def branch(self) -> str | None:
        """The branch, None where an RFC 2543 client sent none."""
        return self.param("branch") or None

    @property
    def sent_by(self) -> str:
        """Host and port as the client named itself, in lower case: part of the transaction's key."""
        return f"{self.host.lower()}:{self.port or ''}"

    def marked(self, source: Address) -> str:
        """Return the Via's text with what the server saw: `received`, and `rport` where it was asked for.

        What the client itself wrote in `received` is replaced, for it is not the client's to say.
        """
        parts = [self._sent()]
        asked_rport = False
        for name, value in self.params:
            if name == "rport":
                asked_rport = True
                parts.append(f";rport={source.port}")
            elif name != "received":
                parts.append(f";{name}" if value is None else f";{name}={value}")
        # RFC 3261 18.2.1: MUST add "received" if sent-by is a name or differs from the source.
        # RFC 3581 4: with rport, MUST add it always.
        if asked_rport or self.host != source.host:
            parts.append(f";received={source.host.partition('%')[0]}")
        return "".join(parts)

    def reply_address(self, source: Address) -> Address:
        """Return where a response goes by datagram: the source, on sent-by's port without rport (RFC 3261 18.2.2).

        `maddr` is not followed: a response must not be steered to a third host.
        """
        if self.param("rport") is not None:
            return source
        return Address(source.host, self.port or 5060)

    def __str__(self) -> str:
        return self._sent() + "".join(
            [f";{name}" if value is None else f";{name}={value}" for name, value in self.params]
        )

    def _sent(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"SIP/2.0/{self.transport} {host}" if self.port is None else f"SIP/2.0/{self.transport} {host}:{self.port}"
        )
