"""Ask a peer something and wait for its final answer, with credentials where it wants them (RFC 3261 8.1, 22)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sip.digest import ANSWERED_BY, answer_response
from sip.io.endpoint import new_token

if TYPE_CHECKING:
    from sip.digest import Credentials
    from sip.errors import SipError
    from sip.flow import Flow
    from sip.io.endpoint import Endpoint
    from sip.message import Request, Response


async def ask(endpoint: Endpoint, request: Request, flow: Flow, *, credentials: Credentials | None = None) -> Response:
    """Send a request other than INVITE and return its final response; one challenge is answered with the credentials.

    A second challenge means that they are wrong, and is returned. Raises TransactionTimeout or TransportFailed.
    """
    response = await _exchange(endpoint, request, flow)
    if credentials is None or response.status not in ANSWERED_BY:
        return response
    answer = answer_response(response, credentials, uri=request.uri, nc=1, cnonce=new_token())
    if answer is None:
        return response
    return await _exchange(endpoint, with_credentials(request, answer), flow)


def with_credentials(request: Request, answer: tuple[str, str]) -> Request:
    """Return the same request with the header given and a higher CSeq, to answer a challenge (RFC 3261 22.2)."""
    again = request.copy()
    cseq = request.cseq
    again.set("CSeq", f"{cseq.number + 1} {cseq.method}")
    again.set(*answer)
    return again


async def _exchange(endpoint: Endpoint, request: Request, flow: Flow) -> Response:
    outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def on_response(response: Response) -> None:
        if response.final and not outcome.done():
            outcome.set_result(response)

    def on_failure(failure: SipError) -> None:
        if not outcome.done():
            outcome.set_exception(failure)

    endpoint.request(request, flow, on_response, on_failure)
    return await outcome
