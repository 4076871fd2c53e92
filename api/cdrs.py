"""CDRs: the legs of calls that have ended, in Kazoo's shape, with how and by whom they ended."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from api.call import Answer, text_of
from api.errors import BadIdentifier, FaultyRequest
from api.listing import PAGING, paging_keys, parse_paging
from api.ports import GREGORIAN_EPOCH, CdrQuery
from api.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.call import Call
    from api.ports import Cdr, Json, JsonObject, Leg

MOST: Final = 5_000  # rows of one answer, paged or not
MAX_DIGITS: Final = 18  # of a number in the query string; more would be no time and no key of ours
FAULTY: Final = "is not a number"

CAUSES: Final[Mapping[int, str]] = {
    1: "UNALLOCATED_NUMBER", 3: "NO_ROUTE_DESTINATION", 16: "NORMAL_CLEARING", 17: "USER_BUSY", 18: "NO_USER_RESPONSE",
    19: "NO_ANSWER", 20: "SUBSCRIBER_ABSENT", 21: "CALL_REJECTED", 22: "NUMBER_CHANGED",
    23: "REDIRECTION_TO_NEW_DESTINATION", 25: "EXCHANGE_ROUTING_ERROR", 26: "LOSE_RACE",
    27: "DESTINATION_OUT_OF_ORDER", 28: "INVALID_NUMBER_FORMAT", 31: "NORMAL_UNSPECIFIED", 38: "NETWORK_OUT_OF_ORDER",
    41: "NORMAL_TEMPORARY_FAILURE", 63: "SERVICE_UNAVAILABLE", 65: "BEARERCAPABILITY_NOTIMPL",
    79: "SERVICE_NOT_IMPLEMENTED", 88: "INCOMPATIBLE_DESTINATION", 102: "RECOVERY_ON_TIMER_EXPIRE",
}  # fmt: skip
"""Q.850 causes by the names that FreeSWITCH, and so Kazoo, has for them."""


async def list_cdrs(call: Call) -> Answer:
    """GET /cdrs: the account's, the latest first."""
    return await _listed(call, owner_id=None)


async def list_user_cdrs(call: Call) -> Answer:
    """GET /users/{U}/cdrs."""
    return await _listed(call, owner_id=call.user.id)


async def read_cdr(call: Call) -> Answer:
    """GET /cdrs/{ID}."""
    cdr_id = call.params["cdr_id"]
    cdr = await call.ports.cdrs.find(call.account.id, cdr_id)
    if cdr is None:
        raise BadIdentifier(cdr_id)
    return Answer(_row(cdr))


async def _listed(call: Call, *, owner_id: str | None) -> Answer:
    paging = parse_paging(call.query)
    size = MOST if paging.size is None else paging.size
    query = CdrQuery(
        call.account.id,
        limit=size + 1,
        before=_whole_number(paging.start_key, "start_key"),
        began_from=_unix(call, "created_from"),
        began_to=_unix(call, "created_to"),
        owner_id=owner_id,
    )
    found = await call.ports.cdrs.page(query)
    rows: list[Json] = [_row(cdr) for cdr in found[:size]]
    following = str(found[size].number) if len(found) > size else None
    return Answer(rows, extra=paging_keys(paging, len(rows), following))


def _unix(call: Call, name: str) -> float | None:
    """Return a time of the query string, which is in Gregorian seconds, as Unix time."""
    seconds = _whole_number(text_of(call.query.get(name)), name)
    return None if seconds is None else float(seconds - GREGORIAN_EPOCH)


def _whole_number(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise FaultyRequest(f"{name} {FAULTY}")
    return int(text)


def _row(cdr: Cdr) -> JsonObject:
    """Return a row; durations and times are text, as Kazoo has them."""
    leg = cdr.leg
    moment = datetime.fromtimestamp(leg.began, timezone.utc)
    gregorian = str(int(leg.began) + GREGORIAN_EPOCH)
    row: JsonObject = {
        "id": cdr.id,
        "call_id": leg.call_id,
        "interaction_id": leg.interaction_id,
        "other_leg_call_id": leg.other_leg,
        "direction": "outbound",
        "authorizing_id": leg.device_id,
        "owner_id": leg.owner_id,
        "caller_id_name": leg.caller_id_name,
        "caller_id_number": leg.caller_id_number,
        "callee_id_name": leg.callee_id_name,
        "callee_id_number": leg.callee_id_number,
        "dialed_number": leg.destination,
        "calling_from": leg.caller_id_number,
        "from": leg.caller_id_number,
        "to": leg.presence_id or leg.destination,
        "request": leg.request,
        "presence_id": leg.presence_id,
        "hangup_cause": _cause(leg),
        "hangup_code": f"sip:{leg.sip_status}",
        "duration_seconds": _seconds(leg.began, leg.ended),
        "billing_seconds": _seconds(leg.answered, leg.ended),
        "ringing_seconds": _seconds(leg.rang, leg.answered or leg.ended),
        "timestamp": gregorian,
        "unix_timestamp": str(int(leg.began)),
        "datetime": f"{moment:%Y-%m-%d %H:%M:%S}",
        "iso_8601": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "rfc_1036": format_datetime(moment, usegmt=True),
    }
    return {**{key: value for key, value in row.items() if value != ""}, **_outcome(leg)}


def _outcome(leg: Leg) -> JsonObject:
    """Return what Kazoo has no keys for: times to the millisecond, and how and by whom the leg ended."""
    row: JsonObject = {
        "side": leg.side,
        "media": leg.media,
        "began_at": round(leg.began, 3),
        "ringing_at": _rounded(leg.rang),
        "answered_at": _rounded(leg.answered),
        "ended_at": _rounded(leg.ended),
        "auto_answer": leg.auto_answer,
        "outcome": leg.outcome,
        "sip_status": leg.sip_status,
        "q850_cause": leg.q850_cause,
        "hangup_side": leg.hangup_side,
        "remark": leg.remark or None,
    }
    return {key: value for key, value in row.items() if value is not None}


def _cause(leg: Leg) -> str:
    if leg.outcome == "cancelled" and leg.answered is None:
        return "ORIGINATOR_CANCEL"
    return CAUSES.get(leg.q850_cause, "INTERWORKING")


def _seconds(start: float | None, end: float | None) -> str:
    return "0" if start is None or end is None else str(max(0, round(end - start)))


def _rounded(moment: float | None) -> float | None:
    return None if moment is None else round(moment, 3)


_ACCOUNT: Final = "/accounts/{account_id}"
_QUERY: Final = (*PAGING, "created_from", "created_to")

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        f"{_ACCOUNT}/cdrs",
        list_cdrs,
        "List the legs of calls that have ended",
        answer="cdr_rows",
        query=_QUERY,
    ),
    Route(
        "GET",
        f"{_ACCOUNT}/users/{{user_id}}/cdrs",
        list_user_cdrs,
        "List the legs of a user's devices that have ended",
        answer="cdr_rows",
        query=_QUERY,
    ),
    Route("GET", f"{_ACCOUNT}/cdrs/{{cdr_id}}", read_cdr, "Read a leg that has ended", answer="cdr"),
)
