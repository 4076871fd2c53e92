"""What the tests ask of a message that came over the wire."""

from __future__ import annotations

from sip.errors import ParseError
from sip.headers import NameAddr
from sip.message import Message, Request
from sip.uri import SipUri
from sip.via import Via

_PARTS = ("request-uri", "call_id", "cseq", "from_", "to", "via", "vias", "contact")


def faults_of(message: Message) -> dict[str, int]:
    """Return what the parser finds wrong with a message: which part, and the status that answers it."""
    faults = {"message": message.defect.status} if message.defect else {}
    for part in _PARTS:
        try:
            _read(message, part)
        except ParseError as fault:
            faults[part] = fault.status
    return faults


def _read(message: Message, part: str) -> None:
    if part == "contact":
        for value in message.values("Contact"):
            if value != "*":
                SipUri.parse(NameAddr.parse(value).uri)
    elif part == "vias":
        for value in message.values("Via"):
            Via.parse(value)
    elif part != "request-uri":
        getattr(message, part)
    elif isinstance(message, Request):
        SipUri.parse(message.uri)
