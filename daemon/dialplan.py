"""Where a number leads, and where calls of a device are forwarded to (contract 5.10, 6.3, 6.5)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from api.call_forward import forward_of
from api.ports import Kind, PageQuery, StoreUnavailable
from api.quickcall_data import callee_id
from api.quickcall_devices import owners_of
from daemon.diversion import Diversion
from daemon.route import Route
from daemon.targets import Wish, identity, outgoing_headers
from sip.errors import ParseError, TransportFailed
from sip.invite import without_auto_answer
from sip.outcome import Ending, Outcome, Side, best_told, unreachable
from sip.redirect import number_of_tel
from sip.uri import SipUri, unescape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call_forward import Forward
    from api.ports import Document, Documents
    from api.quickcall_devices import Target as Endpoint
    from config.settings import QuickcallSettings
    from daemon.directory import Directory
    from daemon.extensions import Extensions
    from daemon.invitation import Target
    from daemon.leg import SipUser
    from daemon.targets import Targets

log = structlog.get_logger(__name__)

MAX_FORWARDS: Final = 4  # devices that forward to one another; people chain two

NO_ROUTE: Final = Ending(Outcome.NO_ROUTE, Side.B, 404, 3)
NOT_REGISTERED: Final = Ending(Outcome.NOT_REGISTERED, Side.B, 480, 20)
NOT_TO_BE_RUNG: Final = Ending(Outcome.BUSY, Side.B, 486, 17)
BAD_NUMBER: Final = Ending(Outcome.NOT_FOUND, Side.B, 484, 28)
FORWARD_LOOP: Final = Ending(Outcome.REDIRECTED, Side.B, 482, 25)
NO_KEYS: Final = Ending(Outcome.REDIRECTED, Side.B, 302, 23)
"""The forwarded call is to be taken by a key, and nobody here would hear it."""
NOT_OURS: Final = Ending(Outcome.REDIRECTED, Side.B, 302, 23)
"""A phone redirected its call to a host of somebody else's."""
STORE_DOWN: Final = Ending(Outcome.FAILED, None, 500, 41)


class Dialplan:
    """Finds targets. What it returns instead is why there are none, told as of side B."""

    def __init__(
        self,
        sip: SipUser,
        targets: Targets,
        directory: Directory,
        extensions: Extensions,
        documents: Documents,
        settings: QuickcallSettings,
    ) -> None:
        self._sip = sip
        self._targets = targets
        self._directory = directory
        self._extensions = extensions
        self._documents = documents
        self._route = Route(sip, settings)

    async def of_number(
        self, number: str, caller: Endpoint, name: str, shown: str, *, keys: bool
    ) -> Sequence[Target] | Ending:
        """Return where a number is to be rung: a device of the account, or else the configured route."""
        realm = self._directory.realm_of(caller.device.account_id)
        user = shown or caller.username or "anonymous"
        headers = without_auto_answer(outgoing_headers(caller.device))
        wish = Wish(secrets.token_hex(18), identity(name, user, realm), number, headers, keys=keys)
        account_id = caller.device.account_id
        diversion = Diversion(partial(self._redirected, account_id, wish))
        found = await self._called(account_id, wish, frozenset())
        return found if isinstance(found, Ending) else diversion.watch(found)

    async def of_endpoint(
        self, endpoint: Endpoint, wish: Wish, passed: frozenset[str] = frozenset()
    ) -> Sequence[Target] | Ending:
        """Return where an endpoint is to be rung; `passed` are the devices that have forwarded the call so far."""
        forward = forward_of(endpoint)
        if forward is not None and forward.replaces:
            return await self._forwarded(endpoint, forward, wish, passed)
        rung = await self._phone(endpoint, wish)
        if forward is None or (isinstance(rung, list) and not forward.adds):
            return rung
        aside = replace(wish, call_id=wish.beside or secrets.token_hex(18)) if forward.adds else wish
        forwarded = await self._forwarded(endpoint, forward, aside, passed)
        if isinstance(rung, Ending) or isinstance(forwarded, Ending):
            return forwarded if isinstance(rung, Ending) else rung
        return [*rung, *forwarded]

    async def _phone(self, endpoint: Endpoint, wish: Wish) -> list[Target] | Ending:
        try:
            return await self._targets.of_device(endpoint, wish) or NOT_REGISTERED
        except (ParseError, TransportFailed) as failure:
            facts = {"device_id": endpoint.device.id, "call_id": wish.call_id}
            log.warning("quickcall.address_unusable", reason=str(failure), **facts)
            return unreachable(Side.B) if isinstance(failure, TransportFailed) else BAD_NUMBER

    async def _forwarded(
        self, endpoint: Endpoint, forward: Forward, wish: Wish, passed: frozenset[str]
    ) -> Sequence[Target] | Ending:
        """Return where the number is that an endpoint forwards to."""
        device = endpoint.device
        facts = {"device_id": device.id, "call_id": wish.call_id}
        if forward.require_keypress and not wish.keys:
            log.warning("quickcall.key_unheard", forwarded_to=forward.number, **facts)
            return NO_KEYS
        if device.id in passed or len(passed) >= MAX_FORWARDS:
            log.warning("quickcall.forward_loop", forwarded_to=forward.number, **facts)
            return FORWARD_LOOP
        local = wish.local
        if not forward.keep_caller_id:
            local = identity(*callee_id(endpoint, forward.number), self._directory.realm_of(device.account_id))
        further = replace(wish, local=local, number=forward.number, auto_answer=False, beside="")
        found = await self._called(device.account_id, further, passed | {device.id})
        if isinstance(found, Ending):
            log.warning("quickcall.forward_failed", outcome=found.outcome.value, **facts)
            return found
        return [
            replace(
                target,
                forwarded_by=target.forwarded_by or device.id,
                keypress=target.keypress or forward.require_keypress,
                quiet=target.quiet or forward.ignore_early_media,
            )
            for target in found
        ]

    async def _called(self, account_id: str, wish: Wish, passed: frozenset[str]) -> Sequence[Target] | Ending:
        """Return where the number of a wish leads."""
        try:
            devices = await self._find_devices(account_id, wish.number)
            if devices is None:
                target = await self._route.to_number(wish)
                return NO_ROUTE if target is None else [target]
            return await self._of_devices(devices, wish, passed)
        except StoreUnavailable:
            return STORE_DOWN
        except TransportFailed:
            return unreachable(Side.B)
        except ParseError:
            return BAD_NUMBER

    async def _find_devices(self, account_id: str, number: str) -> Sequence[Document] | None:
        """Return the devices that a number means: one by its username or presence id, or all those of a user."""
        known = self._directory.find_number(account_id, number)
        if known is not None:
            device = await self._documents.get(Kind.DEVICE, account_id, known.device_id)
            return None if device is None else [device]
        user_id = self._extensions.find(account_id, number)
        if user_id is None:
            return None
        found = await self._documents.page(PageQuery(Kind.DEVICE, account_id, owner_id=user_id))
        return [device for device in found if user_id in owners_of(device)]

    async def _of_devices(
        self, devices: Sequence[Document], wish: Wish, passed: frozenset[str]
    ) -> Sequence[Target] | Ending:
        """Return where devices are to be rung, all at once."""
        rung: list[Target] = []
        missing: list[Ending] = []
        for device in devices:
            endpoint = await self._targets.endpoint(device)
            if endpoint is None or not endpoint.is_usable():
                continue
            # Each device's leg has a Call-ID of its own; a forwarded call keeps the one that it was promised.
            own = wish if len(devices) == 1 else replace(wish, call_id=secrets.token_hex(18))
            found = await self.of_endpoint(endpoint, own, passed)
            if isinstance(found, Ending):
                missing.append(found)
            else:
                rung += found
        return rung or best_told(missing or [NOT_TO_BE_RUNG])

    async def _redirected(
        self, account_id: str, wish: Wish, contact: str, *, by_route: bool
    ) -> Sequence[Target] | Ending:
        """Return where a contact of a 3xx is to be rung: a number of ours, or, if the route named it, any host."""
        wish = replace(wish, call_id=secrets.token_hex(18))
        try:
            number = number_of_tel(contact)
            if number is not None:
                return await self._called(account_id, replace(wish, number=number), frozenset())
            uri = SipUri.parse(contact)
            if self._is_ours(uri, by_route=by_route):
                return await self._called(account_id, replace(wish, number=unescape(uri.user or "")), frozenset())
            if not by_route:
                return NOT_OURS
            return [await self._route.to_uri(wish, replace(uri, headers="", password=None))]
        except TransportFailed:
            return unreachable(Side.B)
        except ParseError:
            return BAD_NUMBER

    def _is_ours(self, uri: SipUri, *, by_route: bool) -> bool:
        """Return whether a URI means a number of ours. The route may live on this machine, and mean its own."""
        return self._directory.serves(uri.host.lower()) or (not by_route and self._sip.is_own(uri.host))
