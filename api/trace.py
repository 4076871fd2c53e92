"""The messages of one device, kept for a while on demand, as JSON, as text, as a ladder or as a capture file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.errors import BadIdentifier, ValidationFailed
from api.negotiation import choose_type
from api.routing import Route
from api.schemas import Schema
from sip.ladder import draw
from sip.pcap import MEDIA_TYPE, encode_pcap
from sip.sighting import as_text

if TYPE_CHECKING:
    from api.call import Call
    from api.ports import JsonObject, Trace
    from sip.sighting import Sighting

ACTION: Final = Schema("trace_action")
JSON: Final = "application/json"
TEXT: Final = "text/plain"
TYPES: Final = (TEXT, MEDIA_TYPE)
"""What a trace is given as beside JSON."""
VIEWS: Final = ("messages", "ladder")


async def act_on_trace(call: Call) -> Answer:
    """POST trace: start a new one, or stop the one that runs."""
    body, faults = ACTION.check(call.body())
    if faults:
        raise ValidationFailed(faults)
    if body["action"] == "stop":
        return Answer(_shown(_there(call, call.ports.traces.stop(call.account.id, call.device.id)), []))
    seconds, messages = body["seconds"], body["messages"]
    assert isinstance(seconds, int | float)  # 60.0 is an integer too, for JSON Schema
    assert isinstance(messages, int | float)
    return Answer(_shown(call.ports.traces.start(call.device, seconds=int(seconds), messages=int(messages)), []))


async def read_trace(call: Call) -> Answer:
    """GET trace: as the Accept header has it; `after` leaves out those up to a number, `view=ladder` draws the text."""
    trace = _there(call, call.ports.traces.get(call.account.id, call.device.id))
    after = _after(call)
    messages = [each for each in trace.messages if each.number > after]
    wanted = choose_type(call, (JSON, *TYPES))
    if wanted == MEDIA_TYPE:
        return Answer(encode_pcap(messages), media_type=MEDIA_TYPE)
    if wanted == TEXT:
        text = draw(messages) if _view(call) == "ladder" else as_text(messages)
        return Answer(text.encode(), media_type=f"{TEXT}; charset=utf-8")
    return Answer(_shown(trace, messages))


async def clear_trace(call: Call) -> Answer:
    """DELETE trace: stop it, and forget its messages."""
    call.ports.traces.clear(call.account.id, call.device.id)
    return Answer({})


def _there(call: Call, trace: Trace | None) -> Trace:
    if trace is None:
        raise BadIdentifier(call.device.id)
    return trace


def _after(call: Call) -> int:
    text = call.query.get("after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _view(call: Call) -> str:
    view = call.query.get("view") or VIEWS[0]
    if view not in VIEWS:
        message = "Value not found in enumerated list of values"
        raise ValidationFailed({"view": {"enum": {"message": message, "target": list(VIEWS), "value": view}}})
    return view


def _shown(trace: Trace, messages: list[Sighting]) -> JsonObject:
    return {
        "running": trace.running,
        "started": trace.started,
        "ends": trace.ends,
        "kept": len(trace.messages),
        "dropped": trace.dropped,
        "messages": [_row(each) for each in messages],
    }


def _row(each: Sighting) -> JsonObject:
    return {
        "number": each.number,
        "time": each.time,
        "sent": each.sent,
        "transport": each.transport.value.lower(),
        "source": str(each.source),
        "destination": str(each.destination),
        "start_line": each.start_line,
        "length": each.length,
        "message": each.data.decode("utf-8", "replace"),
    }


_PATH: Final = "/accounts/{account_id}/devices/{device_id}/trace"

ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", _PATH, act_on_trace, "Start or stop the trace of a device", body="trace_action", answer="trace"),
    Route(
        "GET",
        _PATH,
        read_trace,
        "Read the trace of a device",
        answer="trace",
        query=("after", "view"),
        types=TYPES,
    ),
    Route("DELETE", _PATH, clear_trace, "Stop and forget the trace of a device", answer="nothing"),
)
