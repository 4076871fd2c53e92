"""From what a resource answers, or raises, to what is sent: conditions of a GET, headers, envelope (contract 1.7, 2).

What the answers to a request have in common is made once (`Frame`); the rest is filled in for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from api import envelope
from api.call import is_true, names
from api.errors import MethodNotAllowed, NotModified, PreconditionFailed
from api.kept import etag_of
from api.negotiation import cors_headers, is_cross_origin
from api.reply import Reply, head_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Answer, Call
    from api.errors import Refusal
    from api.passages import Passage

EXPIRED: Final = "Fri, 01 Jan 1999 00:00:00 GMT"
FIXED: Final = {"Content-Language": "en", "Vary": "accept-language, accept", "Server": "Roost"}
JSON: Final = "application/json"
JSONP: Final = "application/javascript"


class Frame(NamedTuple):
    """What stands around the `data` of answers that differ in nothing else."""

    properties: tuple[object, ...]
    """Of the answer, all but its data."""
    status: int
    head: bytes
    """The status line and all headers that have no other value in the next answer."""
    rest: bytes | None
    """The envelope's keys after those of the moment; None where there is no envelope."""
    is_dressed: bool
    """Whether the request may want its JSON otherwise than plain."""


def respond(passage: Passage, answer: Answer, request_id: str) -> Reply:
    """Return what is sent for an answer. Raises NotModified and PreconditionFailed."""
    data = None if answer.data is None else envelope.encode_data(answer.data)
    if answer.etag is True and data is not None:
        answer = answer._replace(etag=etag_of(data))
    frame = passage.frame
    if frame is None or frame.properties != answer[1:]:
        frame = passage.frame = _frame(passage.call, answer)
    if frame.rest is None:
        pieces: Sequence[bytes] = (data or b"",)
    else:
        pieces = envelope.around(data, request_id, frame.rest)
    if frame.is_dressed:
        pieces = _dress(passage.call, pieces)
    return Reply(frame.status, _told(frame.head, request_id), pieces)


def respond_refused(call: Call, error: Exception, refusal: Refusal, request_id: str) -> Reply:
    """Return what is sent for a refusal."""
    headers = {**FIXED, **cors_headers(call.routes, call.method), **refusal.headers}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(call.routes)
    pieces: Sequence[bytes] = ()
    if refusal.message:
        pieces = (envelope.failure(refusal, request_id=request_id, token=call.token),)
        headers["Content-Type"] = _json_type(call)
        if call.is_dressed:
            pieces = _dress(call, pieces)
    return Reply(refusal.status, _told(head_of(refusal.status, headers), request_id), pieces)


def respond_preflight(call: Call, requested: str | None, request_id: str) -> Reply:
    """Return what is sent to a browser that asks what it may send."""
    return Reply(200, _told(head_of(200, {**FIXED, **cors_headers(call.routes, requested)}), request_id))


def stream_headers(call: Call, request_id: str) -> dict[str, str]:
    """Return the headers of a stream, but for its type."""
    headers = {"X-Request-ID": request_id, **FIXED}
    return {**headers, **cors_headers(call.routes, None)} if is_cross_origin(call.headers) else headers


def _frame(call: Call, answer: Answer) -> Frame:
    etag = answer.etag if isinstance(answer.etag, str) else answer.revision
    headers = dict(FIXED)
    if call.method == "GET":
        headers["Expires"] = EXPIRED
        _check_conditions(call, etag)
        if etag is not None:
            headers["ETag"] = f'"{etag}"'
    if answer.location is not None:
        headers["Location"] = f"{call.path}/{answer.location}"
        call.created = answer.location
    if is_cross_origin(call.headers):
        headers.update(cors_headers(call.routes, None))
    headers["Content-Type"] = answer.media_type or _json_type(call)
    status = 200 if call.tunnelled and answer.location is None else answer.status
    rest = None if answer.bare or answer.media_type else _rest(call, answer)
    is_dressed = call.is_dressed and not answer.media_type
    return Frame(answer[1:], status, head_of(status, headers), rest, is_dressed)


def _rest(call: Call, answer: Answer) -> bytes:
    revision = "automatic" if isinstance(answer.etag, str) else answer.revision
    version = call.policy.version if call.identity is not None else None
    return envelope.rest(token=call.token, revision=revision, version=version, extra=answer.extra)


def _told(head: bytes, request_id: str) -> bytes:
    return b"%bX-Request-ID: %b\r\n" % (head, request_id.encode())


def _check_conditions(call: Call, etag: str | None) -> None:
    """Answer If-None-Match and If-Match of a GET (RFC 9110 13.2.2); without an ETag only `*` can be met."""
    if_match = call.headers.get("If-Match")
    if if_match is not None and not names(if_match, etag or ""):
        raise PreconditionFailed
    if_none_match = call.headers.get("If-None-Match")
    if if_none_match is not None and etag is not None and names(if_none_match, etag):
        raise NotModified(f'"{etag}"')


def _dress(call: Call, pieces: Sequence[bytes]) -> Sequence[bytes]:
    """Return JSON as the request wants to see it."""
    if is_true(call.headers.get("X-Pretty-Print")) or is_true(call.value("pretty_print")):
        pieces = (envelope.indent(b"".join(pieces)),)
    callback = _callback(call)
    return pieces if callback is None else envelope.wrap(pieces, callback)


def _json_type(call: Call) -> str:
    return JSON if _callback(call) is None else JSONP


def _callback(call: Call) -> str | None:
    callback = call.value("jsonp")
    return callback if isinstance(callback, str) and envelope.CALLBACK.fullmatch(callback) else None
