"""Where the media of a call flows: between its phones, or through a worker of ours (contract 5.10, 6.7)."""

from __future__ import annotations

import base64
import secrets
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from api.ports import MediaUnavailable, TooManyCalls
from daemon.targets import codecs, wants_srtp
from sip.anchor import Anchor, Bridge, Party
from sip.bypass import Bypass
from sip.errors import TransportFailed
from sip.media.bridge import LOOPBACK
from sip.media.supervisor import NoMedia, NoRoom
from sip.outcome import Ending, Outcome, Side
from sip.sdp import encodings
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from api.ports import Document
    from daemon.call import Call
    from daemon.invitation import Target
    from daemon.leg import SipUser
    from sip.mediaplan import MediaPlan

log = structlog.get_logger(__name__)

ENFORCED: Final = (
    "media.encryption.enforce_security of the device wants encrypted media, which the media worker has not."
    " Ask for media=bypass"
)
NO_IPV4: Final = "the media worker speaks IPv4 alone, and the device is reached over IPv6. Ask for media=bypass"
WORKER_LOST: Final = Ending(Outcome.WORKER_LOST, None, 503, 41)
USUAL: Final = ("PCMU", "PCMA")
"""What a number is offered that is no device of ours, beside what the caller's device takes."""


class Worker(Bridge, Protocol):
    """The worker of one call."""

    def listen(self, on_lost: Callable[[], None], on_pressed: Callable[[Side, str], None], /) -> None:
        """Say who is to hear that the worker is lost, once, and which keys are pressed."""
        ...

    def close(self) -> None:
        """Let go of the worker."""
        ...


class Workers(Protocol):
    """Where workers come from."""

    async def open(self) -> Worker:
        """Give a call its worker. Raises NoMedia."""
        ...


class CallMedia(Protocol):
    """The media of one call."""

    @property
    def plan(self) -> MediaPlan:
        """What the legs are told."""
        ...

    def rings(self, side: Side, targets: Sequence[Target]) -> Sequence[Target] | Ending:
        """Learn what is rung next on a side; returns which of it may be, or an end where none may."""
        ...

    def attach(self, call: Call) -> None:
        """Serve the call until it is over."""
        ...

    def abandon(self) -> None:
        """Serve none: there will be no call."""
        ...


class Through:
    """Media that flows through a worker."""

    def __init__(self, worker: Worker, local: LocalAddresses, *, early_media: bool) -> None:
        self.plan = Anchor(worker, session_id=secrets.randbelow(2**31), early_media=early_media)
        self._worker = worker
        self._local = local
        self._codecs: tuple[str, ...] = ()

    def rings(self, side: Side, targets: Sequence[Target]) -> Sequence[Target] | Ending:
        """Offer each phone what its device takes; a number that is no device of ours what the caller's device does."""
        found = list(self._local.usable(targets))
        if not found:
            call_ids = sorted({target.invitee.call_id for target in targets})
            log.warning("quickcall.media_refused", side=side.value, reason=obstacle(targets), call_ids=call_ids)
            return Ending(Outcome.REJECTED_CODEC, side, 488, 65)
        if side is Side.A:
            self._codecs += tuple(codec for target, _ in found for codec in target.codecs)
        anybody = (*self._codecs, *USUAL)
        self.plan.expect(side, [Party(address, encodings(target.codecs or anybody)) for target, address in found])
        return [target for target, _ in found]

    def attach(self, call: Call) -> None:
        """Let the call hear of keys, and of the worker's end; let go of the worker when the call is over."""
        self._worker.listen(lambda: call.stop(WORKER_LOST), call.pressed)
        call.over.add_done_callback(lambda _over: self._worker.close())

    def abandon(self) -> None:
        """Let go of the worker."""
        self._worker.close()


class Between:
    """Media that flows between the phones."""

    def __init__(self, plan: Bypass) -> None:
        self.plan = plan

    def rings(self, _side: Side, targets: Sequence[Target]) -> Sequence[Target] | Ending:
        """Refuse none: what they agree on is theirs."""
        return targets

    def attach(self, call: Call) -> None:
        """Leave it to the phones."""

    def abandon(self) -> None:
        """Have nothing to let go of."""


class LocalAddresses:
    """Our IPv4 address as each phone sees it."""

    def __init__(self, sip: SipUser, address: str) -> None:
        self._sip = sip
        self._address = address

    def usable(self, targets: Iterable[Target]) -> Iterable[tuple[Target, str]]:
        """Yield the targets that a worker may serve, with our address as each sees it."""
        for target in targets:
            if not target.enforces_security and (address := self._seen_by(target)):
                yield target, address

    def _seen_by(self, target: Target) -> str:
        try:
            flow = target.find_flow()
            host = SipUri.parse(self._sip.contact_uri(flow)).host
            remote = ip_address(flow.host)
            if remote.version == 4 and remote.is_loopback:
                return LOOPBACK  # whatever address the world beyond a NAT knows
            return self._address or str(IPv4Address(host))
        except (TransportFailed, ValueError):
            return ""


class MediaModes:
    """Makes the media of calls."""

    def __init__(self, sip: SipUser, workers: Workers, address: str) -> None:
        self._sip = sip
        self._workers = workers
        self._local = LocalAddresses(sip, address)

    def between(self, devices: Sequence[Document], targets: Sequence[Target]) -> CallMedia:
        """Let it flow between the phones."""
        secure = all(wants_srtp(device) for device in devices)
        key = base64.b64encode(secrets.token_bytes(30)).decode() if secure else ""
        address = SipUri.parse(self._sip.contact_uri(targets[0].find_flow())).host
        return Between(Bypass(codecs(devices), address, session_id=secrets.randbelow(2**31), srtp_key=key))

    async def through(self, targets: Sequence[Target], *, early_media: bool) -> CallMedia:
        """Let it flow through a worker, which is had now. Raises MediaUnavailable and TooManyCalls."""
        if not any(self._local.usable(targets)):
            raise MediaUnavailable(obstacle(targets))
        try:
            worker = await self._workers.open()
        except NoRoom as refusal:
            raise TooManyCalls(str(refusal)) from refusal
        except NoMedia as refusal:
            raise MediaUnavailable(str(refusal)) from refusal
        return Through(worker, self._local, early_media=early_media)


def obstacle(targets: Iterable[Target]) -> str:
    """Return why a worker can serve none of the targets."""
    return ENFORCED if any(target.enforces_security for target in targets) else NO_IPV4
