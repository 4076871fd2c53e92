"""A crowd of phones that register over one UDP socket, for tests that need registrations rather than test them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_user import User

from sip.digest import Credentials
from sip.flow import Address, Flow, Transport
from sip.io.client import ask
from sip.io.endpoint import Endpoint, new_token
from sip.message import Request

if TYPE_CHECKING:
    from sip.message import Response


class Crowd:
    """Phones of one realm, whose passwords are all the same."""

    def __init__(self, server: Address, realm: str, password: str) -> None:
        self._server = server
        self._realm = realm
        self._password = password
        self._endpoint = Endpoint(User())

    async def start(self) -> Crowd:
        self._local = await self._endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))
        return self

    async def close(self) -> None:
        await self._endpoint.close()

    async def register(self, username: str, *, expires: int = 600) -> Response:
        """Register the phone and return the last answer."""
        aor = f"sip:{username}@{self._realm}"
        request = Request("REGISTER", f"sip:{self._realm}")
        request.set("Max-Forwards", "70")
        request.set("From", f"<{aor}>;tag={new_token()}")
        request.set("To", f"<{aor}>")
        request.set("Call-ID", new_token())
        request.set("CSeq", "1 REGISTER")
        request.set("Contact", f"<sip:{username}@{self._local}>;expires={expires}")
        flow = Flow.between(Transport.UDP, self._local, self._server)
        return await ask(self._endpoint, request, flow, credentials=Credentials(username, self._password))
