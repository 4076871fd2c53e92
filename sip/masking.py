"""SIP messages without their secrets, for eyes and files: what proves who somebody is, and what encrypts media.

Rule: what is not known to be harmless in credentials is taken away. It works on bytes, so that a message that no parser
understands hides its secrets too. Bodies keep their length, since Content-Length tells it.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = b"***"

_HARMLESS: Final = frozenset(
    {b"username", b"realm", b"uri", b"algorithm", b"qop", b"nc", b"stale", b"domain", b"userhash", b"charset"}
)
"""Parameters of challenges and credentials that prove nothing."""

# All but the parameters are looked for in small letters: a search that minds no case takes ten times as long.
# Not only at the beginning of lines: a message may be broken in a way that hides where its lines begin.
_CREDENTIALS = re.compile(
    rb"(?P<name>authorization|authenticate|authentication-info)[ \t]*:"
    rb"(?P<value>[^\r\n]*(?:(?:\r?\n[ \t]|\r(?!\n))[^\r\n]*)*)"
)
_SCHEME = re.compile(rb"\s*([A-Za-z0-9-]+)(?:\s+(.*))?\Z", re.DOTALL)
_PARAM = re.compile(rb"([A-Za-z0-9_-]+)(\s*=\s*)(\"(?:[^\"\\]|\\.)*\"?|[^,\s\"]*)", re.DOTALL)
_SECRET_WORDS: Final = (b"password", b"passwd", b"secret", b"token", b"cookie")
_SECRET_HEADER = re.compile(rb"^([\w-]*(?:" + b"|".join(_SECRET_WORDS) + rb")[\w-]*[ \t]*:)[^\r\n]*", re.I | re.M)
_SCHEMES: Final = frozenset({b"digest", b"basic", b"bearer"})
_URI_PASSWORD = re.compile(rb"(sips?:[^\s<>\"@:]*:)[^\s<>\"@]*@", re.IGNORECASE)
_URI_HEADER = re.compile(rb"([?&](?:proxy-)?authorization=)[^&>\s\"]*", re.IGNORECASE)
_BODY_SECRETS: Final = (
    re.compile(rb"(\ba=crypto:\d+\s+\S+\s+inline:)([^\s|;]+)", re.IGNORECASE),
    re.compile(rb"(\ba=ice-pwd:)(\S+)", re.IGNORECASE),
    re.compile(rb"(^k=[^\s:]*:)(\S+)", re.MULTILINE),
    re.compile(rb"((?:password|passwd|secret)[\"']?\s*[=:>]\s*[\"']?)([^\"'<&\s,;]+)", re.IGNORECASE),
)


def mask(message: bytes) -> bytes:
    """Return the message with its secrets replaced."""
    head, blank, body = message.partition(b"\r\n\r\n")
    small = head.lower()
    if any(word in small for word in _SECRET_WORDS):
        head = _SECRET_HEADER.sub(rb"\1 " + MASK, head)
        small = head.lower()
    if b"authorization=" in small:
        head = _URI_HEADER.sub(rb"\1" + MASK, head)
        small = head.lower()
    if b"authorization" in small or b"authenticat" in small:
        head = _mask_credentials(head, small)
    if b"@" in head:
        head = _URI_PASSWORD.sub(rb"\1" + MASK + b"@", head)
    if body:
        for pattern in _BODY_SECRETS:
            body = pattern.sub(_mask_in_place, body)
    return head + blank + body


def _mask_credentials(head: bytes, small: bytes) -> bytes:
    parts: list[bytes] = []
    done = 0
    for match in _CREDENTIALS.finditer(small):
        start, end = match.span("value")
        parts += head[done:start], b" ", _mask_value(head[start:end], scheme=match["name"] != b"authentication-info")
        done = end
    return b"".join((*parts, head[done:]))


def _mask_value(value: bytes, *, scheme: bool) -> bytes:
    if not scheme:
        return _mask_params(value)
    match = _SCHEME.match(value)
    if match is None or (match[2] is None and match[1].lower() not in _SCHEMES):
        return MASK
    return match[1] + b" " + (_mask_params(match[2] or b"") if match[1].lower() == b"digest" else MASK)


def _mask_params(text: bytes) -> bytes:
    """Return the parameters that are harmless as they are, and the names alone of those that Digest has beside."""
    kept = [_shown(match[1], match[2], match[3]) for match in _PARAM.finditer(text)]
    return b", ".join(kept) or MASK


def _shown(name: bytes, equals: bytes, value: bytes) -> bytes:
    low = name.lower()
    if low in _HARMLESS:
        return name + equals.strip() + value
    if low in _SECRET:
        return name + b"=" + (b'"' + MASK + b'"' if value.startswith(b'"') else MASK)
    return MASK


_SECRET: Final = frozenset({b"response", b"nonce", b"cnonce", b"opaque", b"nextnonce", b"rspauth", b"auts"})


def _mask_in_place(match: re.Match[bytes]) -> bytes:
    return match[1] + b"x" * len(match[2])
