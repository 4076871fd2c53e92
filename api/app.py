"""The control API: Kazoo's devices API, version 2.

`Api.handle` is the one way in, and does for every request, in Kazoo's order (contract 1.5), what the resources then
need not think of: body, token, path, account, rate, authorisation, types, the documents of the path; then the resource;
then the preconditions of a GET and the envelope. It is also the one place that turns an exception into an answer.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from api import (
    accounts,
    cdrs,
    channels,
    devices,
    envelope,
    events,
    hotdesks,
    imports,
    openapi,
    quickcall,
    registrations,
    status,
    sync,
    sync_jobs,
    tokens,
    trace,
    users,
    webhooks,
)
from api.asked import Asked
from api.auth import authorise, charge, find_account, identify_basic, identify_token
from api.body import read_envelope, read_query
from api.buckets import Buckets
from api.call import Answer, Call, is_true, names
from api.editions import Edition
from api.errors import (
    ApiError,
    BadIdentifier,
    Forbidden,
    Gone,
    MethodNotAllowed,
    NotFound,
    NotModified,
    PreconditionFailed,
    Refusal,
    TooManyRequests,
    refuse,
)
from api.kept import Kept, etag_of
from api.locks import Locks
from api.negotiation import check_accept, check_content_type, cors_headers, is_cross_origin
from api.passages import MAX_PASSAGES, Passage, key_of, passage_of
from api.pieces import WORTH_IT, Pieces
from api.policy import Policy
from api.ports import Kind, PortError
from api.routing import Access, Route, Router, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.ports import Listening, Ports

log = structlog.get_logger(__name__)

RESOURCES: Final[tuple[Route, ...]] = (
    *tokens.ROUTES,
    *accounts.ROUTES,
    *users.ROUTES,
    *devices.ROUTES,
    *status.ROUTES,
    *sync.ROUTES,
    *sync_jobs.ROUTES,
    *trace.ROUTES,
    *quickcall.ROUTES,
    *hotdesks.ROUTES,
    *imports.ROUTES,
    *registrations.ROUTES,
    *events.ROUTES,
    *webhooks.ROUTES,
    *channels.ROUTES,
    *cdrs.ROUTES,
)
ROUTES: Final = (*RESOURCES, openapi.describing(RESOURCES))
FIRST_NOUNS: Final = frozenset({route.path.split("/")[1] for route in ROUTES} | {"account"})
INNER_NOUNS: Final = frozenset({"devices", "users", "hotdesks", "quickcall", "channels", "cdrs"})
"""Nouns that need an account in front of them; without one they are the superduper admin's (contract 3.4)."""
OPEN_NEIGHBOURS: Final = frozenset({"whitelabel"})
"""What user interfaces ask for before they log in; we do not have it, and 401 would confuse them."""
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
COME_AGAIN: Final = (1, 5)  # seconds, the least and the most that who finds all places taken is told to wait
MAX_REQUEST_ID: Final = 128
EXPIRED: Final = "Fri, 01 Jan 1999 00:00:00 GMT"
PATH_KINDS: Final = {"user_id": Kind.USER, "device_id": Kind.DEVICE, "webhook_id": Kind.WEBHOOK}


class Api:
    """The API over the ports: one handler, with what its requests share. It owns nothing that needs closing."""

    def __init__(self, ports: Ports, policy: Policy | None = None) -> None:
        self._ports = ports
        self._policy = policy = policy or Policy()
        self._router = Router(ROUTES)
        self._buckets = Buckets(policy.rate_capacity, policy.rate_per_second, time.monotonic)
        self._locks = Locks()
        self.under_way = 0
        """How many requests wait for their answer; streams of events are none."""
        self.turned_away = 0
        """How many found all places taken."""
        self._kept = Kept()
        self._passages: Edition[Passage] = Edition(MAX_PASSAGES)

    def reload(self, policy: Policy) -> None:
        """Serve by another policy from now on."""
        self._policy = policy
        self._buckets.limit(policy.rate_capacity, policy.rate_per_second)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever becomes of it."""
        call = Call(
            ports=self._ports,
            policy=self._policy,
            locks=self._locks,
            kept=self._kept,
            method=request.method,
            path=request.rel_url.raw_path.rstrip("/"),
            query={},
            headers=request.headers,
            request_id=_request_id(request),
        )
        with Asked(call.request_id):
            response = await self._answer(request, call)
            route = call.routes.get(call.method)
            if call.method in READS and not (route is not None and route.costs):
                log.debug("api.answered", method=call.method, route=call.place, status=response.status)
            else:
                self._tell(request, call, response)
        return response

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        try:
            if request.method == "OPTIONS":
                return self._preflight(request, call)
            answer = await self._serve_one_of_many(request, call)
            if answer.stream is not None:
                return await self._stream(request, call, answer.stream)
            return _respond(call, answer)
        # Whatever is raised becomes an answer; what the catalogue does not know is a bug and logged as one.
        except Exception as error:  # noqa: BLE001
            return _refuse(call, error)

    def _tell(self, request: web.BaseRequest, call: Call, response: web.StreamResponse) -> None:
        """Log what was asked for by whom, and of which documents."""
        facts = _facts(call)
        if "Location" in response.headers:
            facts["created"] = response.headers["Location"].rpartition("/")[2]
        client = self._client(request)
        log.info("api.answered", method=call.method, route=call.place, status=response.status, client=client, **facts)

    async def _serve_one_of_many(self, request: web.BaseRequest, call: Call) -> Answer:
        if self.under_way >= self._policy.max_requests:
            self.turned_away += 1
            raise TooManyRequests(random.randint(*COME_AGAIN))  # noqa: S311 - spreads load
        self.under_way += 1
        try:
            return await self._serve(request, call)
        finally:
            self.under_way -= 1

    async def _serve(self, request: web.BaseRequest, call: Call) -> Answer:
        edition = self._ports.documents.edition(), self._ports.tokens.edition()
        key = key_of(request, call.path)
        passage = self._passages.find(edition, key)
        if passage is not None:
            route = passage.let_in(call)
        else:
            route = await self._let_in(request, call)
            if key is not None and (passage := passage_of(call, route, key)) is not None:
                self._passages.keep(edition, key, passage)
        return await route.handler(call)

    async def _let_in(self, request: web.BaseRequest, call: Call) -> Route:
        tokens = self._find(call)
        call.query = read_query(request.rel_url.raw_query_string)
        if request.body_exists:
            call.data, call.root = await read_envelope(request)
        _tunnel(call)
        envelope.check_callback(call.value("jsonp"))
        route = call.routes.get(call.method)
        if route is None or route.access is not Access.OPEN:
            await identify_token(call)
        if route is None:
            raise await _lost(call, tokens)
        call.place = route.path
        await self._admit(request, call, route)
        check_content_type(request)
        check_accept(call, route)
        await _find_documents(call)
        return route

    def _find(self, call: Call) -> list[str]:
        version, *tokens = split(call.path) or [""]
        if version == "v1":
            raise Gone
        if version != "v2":
            raise NotFound
        # "account" stands for the token's own account, which is filled in once it is known.
        path = ["accounts", "", *tokens[1:]] if tokens[:1] == ["account"] else tokens
        match = self._router.match(path)
        call.routes, call.params = match.routes, match.params
        return tokens

    async def _admit(self, request: web.BaseRequest, call: Call, route: Route) -> None:
        if "account_id" in call.params:
            if not call.params["account_id"] and _is_own(call):
                call.params["account_id"] = call.caller.account_id
            await find_account(call)
        if call.identity is None or route.costs:
            charge(call, route, self._buckets, self._client(request))
            await identify_basic(call)
        await authorise(call, route)

    async def _stream(self, request: web.BaseRequest, call: Call, stream: Listening) -> web.StreamResponse:
        """Send events for as long as the client would be let in."""
        route = call.routes[call.method]

        async def is_welcome() -> bool:
            anew = replace(call, identity=None, documents={}, _superduper=None)
            try:
                await identify_token(anew)
                await self._admit(request, anew, route)
            except ApiError:
                return False
            except PortError:
                log.debug("events.not_checked", **_facts(call))
            return True

        headers = _fixed_headers(call)
        if is_cross_origin(call.headers):
            headers.update(cors_headers(call.routes, None))
        return await events.send_events(request, stream, headers, is_welcome)

    def _preflight(self, request: web.BaseRequest, call: Call) -> web.Response:
        if not is_cross_origin(request.headers):
            raise MethodNotAllowed
        self._find(call)
        requested = request.headers.get("Access-Control-Request-Method")
        headers = {**_fixed_headers(call), **cors_headers(call.routes, requested)}
        return web.Response(headers=headers)

    def _client(self, request: web.BaseRequest) -> str:
        """Return the address of the client: the last one of X-Forwarded-For that is no proxy of ours."""
        peer = request.remote or ""
        if peer not in self._policy.trusted_proxies:
            return peer
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        return next((part for part in reversed(forwarded) if part and part not in self._policy.trusted_proxies), peer)


def _tunnel(call: Call) -> None:
    """Settle the method that counts: `verb` replaces POST alone, and HEAD is a GET whose body is not sent."""
    if call.method == "HEAD":
        call.method = "GET"
    elif call.method == "POST":
        verb = call.value("verb")
        if isinstance(verb, str) and verb and verb.upper() != "POST":
            call.method, call.tunnelled = verb.upper(), True


def _is_own(call: Call) -> bool:
    return call.path.startswith("/v2/account/") or call.path == "/v2/account"


async def _lost(call: Call, tokens: list[str]) -> ApiError:
    """Say why a path and method lead nowhere (contract 1.5 step 3, 2.5)."""
    if call.routes:
        return MethodNotAllowed()
    first = tokens[0] if tokens else ""
    if first in FIRST_NOUNS or first in OPEN_NEIGHBOURS:
        return NotFound()
    await identify_basic(call)
    superduper = await call.is_superduper()
    return Forbidden() if first in INNER_NOUNS and not superduper else NotFound()


async def _find_documents(call: Call) -> None:
    for name, document_id in call.params.items():
        kind = PATH_KINDS.get(name)
        if kind is None:
            continue
        document = await call.ports.documents.get(kind, call.account.id, document_id)
        if document is None:
            raise BadIdentifier(document_id)
        call.documents[kind] = document


def _respond(call: Call, answer: Answer) -> web.Response:
    data = None if answer.data is None else envelope.encode_data(answer.data)
    etag, revision = answer.revision, answer.revision
    if answer.etag and data is not None:
        etag, revision = answer.etag if isinstance(answer.etag, str) else etag_of(data), "automatic"
    headers = _fixed_headers(call)
    if call.method == "GET":
        headers["Expires"] = EXPIRED
        _check_conditions(call, etag)
        if etag is not None:
            headers["ETag"] = f'"{etag}"'
    if answer.location is not None:
        headers["Location"] = f"{call.path}/{answer.location}"
    if is_cross_origin(call.headers):
        headers.update(cors_headers(call.routes, None))
    if answer.media_type:
        headers["Content-Type"] = answer.media_type
        return web.Response(body=data or b"", status=answer.status, headers=headers)
    if answer.bare:
        return _json(call, (data or b"",), answer.status, headers)
    version = call.policy.version if call.identity is not None else None
    rest = envelope.success(answer, request_id=call.request_id, token=call.token, revision=revision, version=version)
    tunnelled_change = call.tunnelled and answer.location is None
    return _json(call, envelope.join(data, rest), 200 if tunnelled_change else answer.status, headers)


def _refuse(call: Call, error: Exception) -> web.Response:
    refusal = refuse(error)
    if refusal is None:
        log.error("api.failed", method=call.method, route=call.place, exc_info=error, **_facts(call))
        refusal = Refusal(500, "unspecified_fault", {"message": "unspecified fault"})
    elif refusal.status >= 500:  # the server's faults
        reason = str(error)
        log.warning("api.refused", route=call.place, reason=reason, status=refusal.status, **_facts(call))
    headers = {**_fixed_headers(call), **cors_headers(call.routes, call.method), **refusal.headers}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(call.routes)
    if not refusal.message:
        return web.Response(status=refusal.status, headers=headers)
    body = envelope.failure(refusal, request_id=call.request_id, token=call.token)
    return _json(call, (body,), refusal.status, headers)


def _facts(call: Call) -> dict[str, str]:
    """Return which request it is, and the ids of what its path names, for the log."""
    ids = {f"{kind.value}_id": document.id for kind, document in call.documents.items()}
    return {"request_id": call.request_id, **ids}


def _json(call: Call, pieces: Sequence[bytes], status: int, headers: dict[str, str]) -> web.Response:
    headers["Content-Type"] = "application/json"
    if call.has_parameters or "X-Pretty-Print" in call.headers:
        pieces = _dress(call, pieces, headers)
    large = max(map(len, pieces)) >= WORTH_IT
    return web.Response(body=Pieces(pieces) if large else b"".join(pieces), status=status, headers=headers)


def _dress(call: Call, pieces: Sequence[bytes], headers: dict[str, str]) -> Sequence[bytes]:
    """Return the body as the request wants to see it."""
    if is_true(call.headers.get("X-Pretty-Print")) or is_true(call.value("pretty_print")):
        pieces = (envelope.indent(b"".join(pieces)),)
    callback = call.value("jsonp")
    if isinstance(callback, str) and envelope.CALLBACK.fullmatch(callback):
        headers["Content-Type"] = "application/javascript"
        pieces = envelope.wrap(pieces, callback)
    return pieces


def _check_conditions(call: Call, etag: str | None) -> None:
    """Answer If-None-Match and If-Match of a GET (RFC 9110 13.2.2); without an ETag only `*` can be met."""
    if_match = call.headers.get("If-Match")
    if if_match is not None and not names(if_match, etag or ""):
        raise PreconditionFailed
    if_none_match = call.headers.get("If-None-Match")
    if if_none_match is not None and etag is not None and names(if_none_match, etag):
        raise NotModified(f'"{etag}"')


def _fixed_headers(call: Call) -> dict[str, str]:
    return {
        "X-Request-ID": call.request_id,
        "Content-Language": "en",
        "Vary": "accept-language, accept",
        "Server": "Roost",
    }


def _request_id(request: web.BaseRequest) -> str:
    """Return the client's own request id, if it is one that a header and a log can hold, or a new one."""
    given = request.headers.get("X-Request-ID", "")
    if 0 < len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable():
        return given
    return os.urandom(16).hex()
