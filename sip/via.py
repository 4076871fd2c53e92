"""Via: where a response goes, and what a server writes there about the source (RFC 3261 18.2, 20.42; RFC 3581)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sip.errors import ParseError
from sip.flow import Address
from sip.headers import Params, parse_params_verbatim

MAGIC_COOKIE = "z9hG4bK"
"""What the branch of every RFC 3261 request begins with (RFC 3261 8.1.1.7)."""

_SENT = re.compile(
    r"\s*SIP\s*/\s*[0-9]\.[0-9]\s*/\s*(?P<transport>[A-Za-z0-9.!%*_+`'~-]+)\s+"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)\s*(?::\s*(?P<port>[0-9]{1,5})\s*)?\Z"
)


@dataclass(frozen=True, slots=True)
class Via:
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
        port = int(match["port"]) if match["port"] else None
        if port is not None and port > 65535:
            raise ParseError("the port of the Via is out of range")
        return Via(
            match["transport"].upper(), match["host"].strip("[]"), port, parse_params_verbatim(semicolon + params)
        )

    def param(self, name: str) -> str | None:
        """Return the value of a parameter; empty for a flag, None where it is absent."""
        return next((value or "" for key, value in self.params if key == name), None)

    @property
    def branch(self) -> str | None:
        """The branch, None where an RFC 2543 client sent none."""
        return self.param("branch") or None

    @property
    def sent_by(self) -> str:
        """Host and port as the client named itself, in lower case: part of the transaction's key."""
        return f"{self.host.lower()}:{self.port or ''}"

    def marked(self, source: Address) -> Via:
        """Return the Via with what the server saw: `received`, and `rport` where it was asked for.

        Raises nothing; what the client itself wrote in `received` is replaced, for it is not the client's to say.
        """
        params = tuple(item for item in self.params if item[0] != "received")
        asked_rport = any(name == "rport" for name, _ in params)
        if asked_rport:
            params = tuple((name, str(source.port)) if name == "rport" else (name, value) for name, value in params)
        # RFC 3261 18.2.1: MUST add "received" if sent-by is a name or differs from the source.
        # RFC 3581 4: with rport, MUST add it always.
        if asked_rport or self.host != source.host:
            params = (*params, ("received", source.host))
        return replace(self, params=params)

    def reply_address(self, source: Address) -> Address:
        """Return where a response goes by datagram: the source, on sent-by's port without rport (RFC 3261 18.2.2).

        `maddr` is not followed: a response must not be steered to a third host.
        """
        if self.param("rport") is not None:
            return source
        return Address(source.host, self.port or 5060)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        sent_by = host if self.port is None else f"{host}:{self.port}"
        params = "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self.params)
        return f"SIP/2.0/{self.transport} {sent_by}{params}"
