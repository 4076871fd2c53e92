"""Click-to-call: ring the devices, and once one answers connect it to the number (contract 5.10, 6.9)."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from api.ports import GREGORIAN_EPOCH, MediaUnavailable, NoEndpoint, QuickcallFailed, TooManyCalls
from daemon.call import Order, describe
from daemon.callrecord import CallRecord
from daemon.targets import CALLER_NAME, Wish, codecs, identity, outgoing_headers, wants_srtp
from sip.bypass import Bypass
from sip.callflow import MAX_BRANCHES
from sip.calllimits import CallLimits
from sip.errors import ParseError, TransportFailed
from sip.outcome import Ending, Outcome, Side
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.ports import Document, QuickcallOptions
    from api.quickcall_devices import Target as Endpoint
    from daemon.calls import LiveCalls
    from daemon.invitation import Target
    from daemon.leg import SipUser
    from daemon.targets import Targets

log = structlog.get_logger(__name__)

NOT_REGISTERED: Final = Ending(Outcome.NOT_REGISTERED, Side.A, 480, 20)
NO_MEDIA_WORKER: Final = "media=process needs the media worker, which this version does not have; ask for media=bypass"
TOO_MANY: Final = "as many calls are up as this machine may have; try again later"
DEFAULT_LIMITS: Final = CallLimits()
CALL_ID_SUFFIX: Final = "-quickcall"
"""What follows 36 hexadecimal digits, as in Kazoo's own."""


class Quickcalls:
    """Implements `api.ports.Quickcalls`."""

    def __init__(self, calls: LiveCalls, sip: SipUser, targets: Targets, limits: CallLimits = DEFAULT_LIMITS) -> None:
        self._calls = calls
        self._sip = sip
        self._targets = targets
        self._limits = limits

    async def start(
        self, owner: Document, devices: Sequence[Document], options: QuickcallOptions, *, wait: bool
    ) -> Mapping[str, str]:
        """Ring the devices and, once one answers, connect it to the number; see `api.ports.Quickcalls.start`."""
        if not options.bypass:
            raise MediaUnavailable(NO_MEDIA_WORKER)
        if self._calls.full:
            raise TooManyCalls(TOO_MANY)
        known = [await self._targets.endpoint(device) for device in devices]
        endpoints = [endpoint for endpoint in known if endpoint is not None and endpoint.is_usable()]
        if not endpoints:
            raise NoEndpoint
        call_ids = {endpoint.device.id: secrets.token_hex(18) + CALL_ID_SUFFIX for endpoint in endpoints}
        facts = {"account_id": owner.account_id, "number": options.number, "call_ids": call_ids}
        found = [target for each in endpoints for target in await self._ring(each, options, call_ids[each.device.id])]
        targets = found[:MAX_BRANCHES]
        record = self._record(owner.account_id, options)
        if targets:
            ending = await self._call(endpoints, targets, options, record, facts, wait=wait)
        else:
            ending = self._absent(facts)
        if ending is not None and wait:
            raise QuickcallFailed(explain(ending, record))
        return call_ids

    async def _ring(self, endpoint: Endpoint, options: QuickcallOptions, call_id: str) -> Sequence[Target]:
        realm = str(endpoint.account.data.get("realm") or "")
        wish = Wish(
            call_id,
            identity(CALLER_NAME, options.filtered_number or "anonymous", realm),
            options.filtered_number,
            outgoing_headers(endpoint.device),
            auto_answer=options.auto_answer,
        )
        try:
            return await self._targets.of_device(endpoint, wish)
        except (ParseError, TransportFailed) as failure:
            log.warning("quickcall.address_unusable", device_id=endpoint.device.id, reason=str(failure))
            return ()

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

    def _absent(self, facts: Mapping[str, object]) -> Ending:
        """Tell that nothing can be rung. The API's answer is the same (contract 5.10)."""
        self._calls.tell("quickcall.ended", {**facts, **describe(NOT_REGISTERED)})
        return NOT_REGISTERED

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
        caller = endpoints[0]
        name, shown = options.callee_name, options.callee_number
        order = Order(
            targets,
            self._bypass(endpoints, targets),
            replace(self._limits, ring_a=float(options.timeout)),
            lambda wanted: self._targets.of_number(wanted, caller, name, shown),
            record,
            facts,
        )
        call = self._calls.begin(order)
        # Shielded: whoever waits may go away, and the call goes on.
        return await asyncio.shield(call.device_answered) if wait else None

    def _bypass(self, endpoints: Sequence[Endpoint], targets: Sequence[Target]) -> Bypass:
        devices = [endpoint.device for endpoint in endpoints]
        secure = all(wants_srtp(device) for device in devices)
        key = base64.b64encode(secrets.token_bytes(30)).decode() if secure else ""
        address = SipUri.parse(self._sip.contact_uri(targets[0].find_flow())).host
        return Bypass(codecs(devices), address, session_id=secrets.randbelow(2**31), srtp_key=key)


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
    Outcome.SHUTDOWN: "the daemon is stopping",
}
