"""Click-to-call: ring the devices, and once one answers connect it to the number (contract 5.10, 6.9)."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from api.call_forward import beside, forward_of
from api.ports import GREGORIAN_EPOCH, MediaUnavailable, NoEndpoint, QuickcallFailed, TooManyCalls
from daemon.callrecord import CallRecord
from daemon.dialplan import NO_KEYS
from daemon.order import Order, describe
from daemon.targets import CALLER_NAME, Wish, identity, outgoing_headers
from sip.callflow import MAX_BRANCHES
from sip.calllimits import CallLimits
from sip.outcome import Ending, Outcome, Side, best_told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.ports import Document, QuickcallOptions
    from api.quickcall_devices import Target as Endpoint
    from daemon.calls import LiveCalls
    from daemon.dialplan import Dialplan
    from daemon.invitation import Target
    from daemon.media import CallMedia, MediaModes
    from daemon.targets import Targets

NEEDS_KEYS: Final = (
    "the device's calls are forwarded and taken by a key (call_forward.require_keypress), which media=bypass cannot"
    " hear; ask for media=process, or set require_keypress to false"
)
TOO_MANY: Final = "as many calls are up as this machine may have; try again later"
DEFAULT_LIMITS: Final = CallLimits()
CALL_ID_SUFFIX: Final = "-quickcall"
"""What follows 36 hexadecimal digits, as in Kazoo's own."""


class Quickcalls:
    """Implements `api.ports.Quickcalls`."""

    def __init__(
        self,
        calls: LiveCalls,
        modes: MediaModes,
        targets: Targets,
        dialplan: Dialplan,
        limits: CallLimits = DEFAULT_LIMITS,
    ) -> None:
        self._calls = calls
        self._modes = modes
        self._targets = targets
        self._dialplan = dialplan
        self._limits = limits

    async def start(
        self, owner: Document, devices: Sequence[Document], options: QuickcallOptions, *, wait: bool
    ) -> Mapping[str, str]:
        """Ring the devices and, once one answers, connect it to the number; see `api.ports.Quickcalls.start`."""
        if self._calls.full:
            raise TooManyCalls(TOO_MANY)
        known = [await self._targets.endpoint(device) for device in devices]
        endpoints = [endpoint for endpoint in known if endpoint is not None and endpoint.is_usable()]
        if not endpoints:
            raise NoEndpoint
        call_ids = _call_ids(endpoints)
        facts = {"account_id": owner.account_id, "number": options.number, "call_ids": call_ids}
        wishes = [_wish(endpoint, options, call_ids) for endpoint in endpoints]
        found = [await self._dialplan.of_endpoint(*pair) for pair in zip(endpoints, wishes, strict=True)]
        targets = [target for each in found if not isinstance(each, Ending) for target in each][:MAX_BRANCHES]
        record = self._record(owner.account_id, options)
        if NO_KEYS in found and not targets:
            raise MediaUnavailable(NEEDS_KEYS)
        if targets:
            ending = await self._call(endpoints, targets, options, record, facts, wait=wait)
        else:
            missing = [replace(each, side=Side.A) for each in found if isinstance(each, Ending)]
            for endpoint, wish, why in zip(endpoints, wishes, missing, strict=True):
                record.absent(endpoint.device.id, wish.call_id, wish.local, why)
            ending = self._absent(record, best_told(missing), facts)
        if ending is not None and wait:
            raise QuickcallFailed(explain(ending, record))
        return call_ids

    def _record(self, account_id: str, options: QuickcallOptions) -> CallRecord:
        began = int(time.time()) + GREGORIAN_EPOCH
        return CallRecord(
            account_id,
            f"{began}-{secrets.token_hex(4)}",
            options.number,
            "bypass" if options.bypass else "process",
            partial(self._targets.known_device, account_id),
            time.time,
        )

    def _absent(self, record: CallRecord, ending: Ending, facts: Mapping[str, object]) -> Ending:
        """Tell that nothing can be rung. The API's answer to a GET is the same (contract 5.10)."""
        self._calls.tell("quickcall.ended", {**facts, **describe(ending), "lasted": 0.0, "talked": 0.0})
        self._calls.keep(record)
        return ending

    async def _call(
        self,
        endpoints: Sequence[Endpoint],
        targets: Sequence[Target],
        options: QuickcallOptions,
        record: CallRecord,
        facts: Mapping[str, object],
        *,
        wait: bool,
    ) -> Ending | None:
        """Begin the call; with `wait`, return what became of the device."""
        media = await self._media(endpoints, targets, options)
        rung = media.rings(Side.A, targets)
        if isinstance(rung, Ending):
            media.abandon()
            return self._absent(record, rung, facts)
        if self._calls.full:  # since the worker was asked for
            media.abandon()
            raise TooManyCalls(TOO_MANY)
        caller = endpoints[0]
        name, shown = options.callee_name, options.callee_number

        order = Order(
            rung,
            media.plan,
            replace(self._limits, ring_a=float(options.timeout)),
            lambda wanted: self._dialplan.of_number(wanted, caller, name, shown, keys=not options.bypass),
            media.rings,
            record,
            facts,
        )
        call = self._calls.begin(order)
        media.attach(call)
        # Shielded: whoever waits may go away, and the call goes on.
        return await asyncio.shield(call.device_answered) if wait else None

    async def _media(
        self, endpoints: Sequence[Endpoint], targets: Sequence[Target], options: QuickcallOptions
    ) -> CallMedia:
        if options.bypass:
            return self._modes.between([endpoint.device for endpoint in endpoints], targets)
        return await self._modes.through(targets, early_media=not options.ignore_early_media)


def _call_ids(endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """Return a Call-ID for each device, and for each call-forward that is rung beside its device."""
    ids = [endpoint.device.id for endpoint in endpoints]
    forwards = ((endpoint.device.id, forward_of(endpoint)) for endpoint in endpoints)
    ids += [beside(device_id) for device_id, forward in forwards if forward is not None and forward.adds]
    return {each: secrets.token_hex(18) + CALL_ID_SUFFIX for each in ids}


def _wish(endpoint: Endpoint, options: QuickcallOptions, call_ids: Mapping[str, str]) -> Wish:
    realm, device = str(endpoint.account.data.get("realm") or ""), endpoint.device
    return Wish(
        call_ids[device.id],
        identity(CALLER_NAME, options.filtered_number or "anonymous", realm),
        options.filtered_number,
        outgoing_headers(device),
        auto_answer=options.auto_answer,
        keys=not options.bypass,
        beside=call_ids.get(beside(device.id), ""),
    )


def explain(ending: Ending, record: CallRecord) -> str:
    """Return why the device did not answer, as a sentence for the API's client."""
    text = _SENTENCES.get(ending.outcome, "the call failed")
    if record.remark:
        text = f"the device {record.remark}"
    return f"{text} (SIP {ending.status}, Q.850 {ending.cause})"


_SENTENCES: Final = {
    Outcome.BUSY: "the device is busy",
    Outcome.DECLINED: "the device declined the call",
    Outcome.REJECTED_CODEC: "the device accepts none of the offered media",
    Outcome.UNAUTHORIZED: "the device wants other credentials",
    Outcome.NOT_FOUND: "the device does not know the address it was called by",
    Outcome.REDIRECTED: "the device forwards its calls elsewhere",
    Outcome.NO_ANSWER: "the device did not answer in time",
    Outcome.NOT_REGISTERED: "the device is not registered",
    Outcome.UNREACHABLE: "the device cannot be reached",
    Outcome.TIMEOUT: "the device gave no sign of life",
    Outcome.CANCELLED: "the call was cancelled",
    Outcome.WORKER_LOST: "worker lost: the process that had the call's media has died",
    Outcome.SHUTDOWN: "the daemon is stopping",
}
