"""The way out: the configured route, and where it redirects calls to (contract 6.9, RFC 3325)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.invitation import Target
from sip.digest import Credentials
from sip.headers import NameAddr
from sip.invite import Invitee, merge_headers
from sip.uri import SipUri, escape_user

if TYPE_CHECKING:
    from config.settings import QuickcallSettings
    from daemon.leg import SipUser
    from daemon.targets import Wish


class Route:
    """Makes the targets that are no devices of ours. Its methods raise TransportFailed or ParseError."""

    def __init__(self, sip: SipUser, settings: QuickcallSettings) -> None:
        self._sip = sip
        self._settings = settings

    async def to_number(self, wish: Wish) -> Target | None:
        """Return where the wish's number is rung; None where no route is configured."""
        return await self.to_uri(wish, self._uri(wish.number)) if self._settings.route else None

    async def to_uri(self, wish: Wish, uri: SipUri) -> Target:
        """Return what rings a URI."""
        ways = await self._sip.ways_to(uri)
        await ways.next()
        # The password and the asserted identity are for the route's host alone, wherever that redirects a call to.
        known = self._leads_to(uri)
        headers = merge_headers(wish.headers, self._asserted(wish) if known else ())
        return Target(
            Invitee(str(uri), wish.call_id, wish.local, NameAddr("", str(uri)), headers=headers),
            lambda: ways.flow,
            credentials=self._credentials() if known else None,
            by_uri=True,
            ways=ways,
        )

    def _uri(self, number: str) -> SipUri:
        return SipUri.parse(self._settings.route.replace("{number}", escape_user(number)))

    def _leads_to(self, uri: SipUri) -> bool:
        if not self._settings.route:
            return False
        own = self._uri("0")
        return (own.scheme, own.host.lower(), own.port) == (uri.scheme, uri.host.lower(), uri.port)

    def _credentials(self) -> Credentials | None:
        username = self._settings.username
        return Credentials(username, self._settings.password) if username else None

    def _asserted(self, wish: Wish) -> tuple[tuple[str, str], ...]:
        number = SipUri.parse(wish.local.uri).user or ""
        uri = self._settings.asserted_identity.replace("{number}", number)
        return (("P-Asserted-Identity", f"<{uri}>"),) if uri else ()
