"""Click-to-call, and the calls that are up and that were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from api.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.ports.documents import Document


@dataclass(frozen=True, slots=True)
class QuickcallOptions:
    """The parameters of a quickcall (contract 5.10)."""

    number: str
    """As in the URL, unfiltered: what is dialled."""
    filtered_number: str
    """After `number_filter`: what is shown as the caller's number."""
    auto_answer: bool
    callee_name: str
    callee_number: str
    """The identity shown to the number, from cid-name and cid-number or the device's caller id."""
    ignore_early_media: bool
    bypass: bool
    """Media flows between the phones themselves (`media=bypass`) rather than through us."""
    timeout: int
    """Seconds that the device may ring."""
    retain_caller_id: bool


class NoEndpoint(PortError):
    """No device can be rung: disabled, do-not-disturb, or none there (500 `unspecified_fault`)."""


class MediaUnavailable(PortError):
    """The media mode cannot be had, and why (503); nothing was rung."""


class QuickcallFailed(PortError):
    """The device did not answer; the text is the cause (POST only)."""


class Quickcalls(Protocol):
    """Click-to-call."""

    async def start(
        self, owner: Document, devices: Sequence[Document], options: QuickcallOptions, *, wait: bool
    ) -> Mapping[str, str]:
        """Ring the devices and, once one answers, connect it to the number.

        `owner` is the device or user of the URL. Returns for each rung device id the Call-ID used on the wire, and for
        a call-forward that is rung at the same time one under `api.call_forward.beside`. With `wait` it returns only
        after the device answered, and raises QuickcallFailed where it did not.
        Raises NoEndpoint or MediaUnavailable.
        """
        ...


class TooManyCalls(PortError):
    """As many calls are up as may be (503); nothing was rung."""


class CannotTransfer(PortError):
    """The call is not connected, or its phones are just agreeing on something (409)."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a call: a device that is rung, or the number. Times are Unix seconds, None for what did not happen."""

    call_id: str
    """Of its INVITE on the wire."""
    interaction_id: str
    """The same for all legs of a call."""
    account_id: str
    side: str
    """`device` or `number`."""
    device_id: str
    """Empty where it is no device of the account."""
    owner_id: str
    username: str
    presence_id: str
    destination: str
    """Whom it was to reach: a username, or a number."""
    request: str
    """The Request-URI."""
    caller_id_name: str
    caller_id_number: str
    callee_id_name: str
    callee_id_number: str
    other_leg: str
    """The Call-ID of the leg it was or is joined with; empty where there is none."""
    media: str
    """`bypass` or `process`."""
    auto_answer: bool
    """Whether the phone was asked to answer by itself."""
    began: float
    rang: float | None = None
    answered: float | None = None
    ended: float | None = None
    outcome: str = ""
    """How it ended, such as `busy`; empty while it is up."""
    sip_status: int = 0
    q850_cause: int = 0
    hangup_side: str = ""
    """`device`, `number` or `roost`: whose doing the end was."""
    remark: str = ""
    """What else there is to say of the end."""


class Channels(Protocol):
    """The legs that are up. Reads are of memory and never wait."""

    def list(self, account_id: str) -> Sequence[Leg]:
        """Return the account's legs that are up, the oldest first."""
        ...

    def find(self, account_id: str, call_id: str) -> Leg | None:
        """Return one of them."""
        ...

    def hang_up(self, account_id: str, call_id: str) -> None:
        """End the call that the leg belongs to, if it is up."""
        ...

    def transfer(self, account_id: str, call_id: str, number: str) -> None:
        """Let another number take the place of the one that the leg's device talks to. Raises CannotTransfer."""
        ...


@dataclass(frozen=True, slots=True)
class CdrQuery:
    """A page of the legs that have ended, the latest first."""

    account_id: str
    limit: int
    before: int | None = None
    """The number to begin at; None begins with the latest."""
    began_from: float | None = None
    began_to: float | None = None
    owner_id: str | None = None


@dataclass(frozen=True, slots=True)
class Cdr:
    """A leg that has ended, as it is kept."""

    number: int
    """Grows with the time of its end."""
    id: str
    leg: Leg


class Cdrs(Protocol):
    """The legs that have ended, for as long as they are kept."""

    async def page(self, query: CdrQuery) -> Sequence[Cdr]:
        """Return a page of them."""
        ...

    async def find(self, account_id: str, cdr_id: str) -> Cdr | None:
        """Return one of them."""
        ...
