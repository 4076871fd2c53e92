"""A family of phones: how to know it, the NOTIFYs that it obeys, and how it is made to answer by itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re


class Mode(Enum):
    """What a check-sync is to bring about."""

    RESYNC = "resync"
    """The phone reads its configuration again, and starts anew only where it must."""
    REBOOT = "reboot"


class Quirk(Enum):
    """What has to be known of a family beside its forms."""

    __hash__ = object.__hash__  # looked for in a set for every request; Enum's own hash is written in Python

    NO_OPTIONS = "no-options"
    """Takes harm from OPTIONS."""
    ANY_CHECK_SYNC_REBOOTS = "any-check-sync-reboots"
    """Even a resync."""
    IGNORES_NOTIFY = "ignores-notify"
    """Answers with anything, 200 too, and does nothing."""
    NO_AUTO_ANSWER = "no-auto-answer"
    """Obeys no header."""
    SCANNER = "scanner"
    """No phone, but somebody who looks for open registrars."""


@dataclass(frozen=True, slots=True)
class NotifyForm:
    """A NOTIFY as a family wants it."""

    event: str
    subscription_state: str = "terminated"
    content_type: str = ""
    body: str = ""
    """With `{call_id}` in the place of the Call-ID of the phone's live REGISTER."""
    headers: tuple[tuple[str, str], ...] = ()

    def body_for(self, call_id: str) -> bytes:
        """Return the body for the phone that registered with this Call-ID."""
        return self.body.replace("{call_id}", call_id).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row of the vendor table."""

    name: str
    title: str
    user_agent: re.Pattern[str] | None
    """Found in the User-Agent of the family's phones; None in the row for all the others."""
    resync: NotifyForm | None
    reboot: NotifyForm | None
    check_sync: Mode
    """What is sent where nobody says which."""
    challenges: bool
    """Whether a NOTIFY has to be authenticated, out of the box or by a common setting."""
    quirks: frozenset[Quirk]
    auto_answer: tuple[tuple[str, str], ...]
    """Headers, with `{host}` in the place of our host."""
    auto_answer_uri: str
    """A parameter for the Request-URI, such as `intercom=true`; empty for none."""
    setting: str
    """What must be set in the phone, for whoever wonders why it does not obey."""
    confidence: str
    source: str

    def form(self, mode: Mode | None = None) -> NotifyForm | None:
        """Return the NOTIFY for a mode, or for a plain check-sync; None where the family has none for it."""
        return self.reboot if (mode or self.check_sync) is Mode.REBOOT else self.resync

    def auto_answer_headers(self, host: str) -> tuple[tuple[str, str], ...]:
        """Return the headers, name and value, that ask for an answer; `host` has brackets where it is IPv6."""
        return tuple((name, value.replace("{host}", host)) for name, value in self.auto_answer)
