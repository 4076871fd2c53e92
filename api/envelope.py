"""Kazoo's envelope around every answer (contract 2.1, 2.2), joined from bytes so that `data` may come ready made."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from api.errors import ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.errors import Refusal
    from api.ports import Json, JsonObject

CALLBACK: Final = re.compile(r"[A-Za-z_$][\w$.]{0,127}", re.ASCII)


def encode_data(data: Json | bytes) -> bytes:
    """Return `data` as JSON."""
    return data if isinstance(data, bytes) else orjson.dumps(data)


def rest(*, token: str | None, revision: str | None, version: str | None, extra: JsonObject) -> bytes:
    """Return the keys of a success that follow those of the moment, with what closes the envelope."""
    known = {"auth_token": token, "revision": revision, "version": version}
    keys = orjson.dumps({**{name: value for name, value in known.items() if value is not None}, **extra})
    return b"," + keys[1:] if len(keys) > len(b"{}") else b"}"


def around(data: bytes | None, request_id: str, rest: bytes) -> tuple[bytes, ...]:
    """Return the envelope of a success around `data`, or without it where it is None."""
    moment = b'"status":"success","request_id":%b,"timestamp":"%b"%b' % (
        orjson.dumps(request_id),
        _iso(int(time.time())),
        rest,
    )
    return (b"{" + moment,) if data is None else (b'{"data":', data, b"," + moment)


def failure(refusal: Refusal, *, request_id: str, token: str | None) -> bytes:
    """Return the envelope of a refusal."""
    envelope: JsonObject = {
        "data": refusal.data,
        "error": str(refusal.status),
        "message": refusal.message,
        "status": "error",
        "request_id": request_id,
        "timestamp": _iso(int(time.time())).decode(),
    }
    if token is not None:
        envelope["auth_token"] = token
    return orjson.dumps(envelope)


def indent(body: bytes) -> bytes:
    """Return JSON for human eyes."""
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)


def check_callback(name: Json) -> str | None:
    """Return the JSONP callback of a request, if it names one. Raises ValidationFailed for what is no identifier."""
    if name is None:
        return None
    if isinstance(name, str) and CALLBACK.fullmatch(name):
        return name
    message = f"Failed to match pattern '{CALLBACK.pattern}'"
    raise ValidationFailed({"jsonp": {"pattern": {"message": message, "target": CALLBACK.pattern}}})


def wrap(pieces: Sequence[bytes], callback: str) -> tuple[bytes, ...]:
    """Return a JSONP call."""
    return (callback.encode(), b"(", *pieces, b")")


@lru_cache(maxsize=1)
def _iso(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second)).encode()
