"""The control API: Kazoo's devices API, version 2.

`Api.handle` is the one way in, and does for every request, in Kazoo's order (contract 1.5), what the resources then
need not think of: body, token, path, account, rate, authorisation, types, the documents of the path; then the resource;
then the preconditions of a GET and the envelope. It is also the one place that turns an exception into an answer.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog
from multidict import istr

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
from api.call import Answer, Call
from api.editions import Edition
from api.errors import (
    ApiError,
    BadIdentifier,
    Forbidden,
    Gone,
    MethodNotAllowed,
    NotFound,
    Refusal,
    TooManyRequests,
    refuse,
)
from api.kept import Kept
from api.locks import Locks
from api.negotiation import check_accept, check_content_type, is_cross_origin
from api.passages import MAX_PASSAGES, Passage, is_kept, key_of
from api.policy import Policy
from api.ports import Kind, PortError
from api.respond import respond, respond_preflight, respond_refused, stream_headers
from api.routing import Access, Route, Router, split

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aiohttp import web

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
REQUEST_ID: Final = istr("X-Request-ID")
MAX_REQUEST_ID: Final = 128
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
        """How many requests wait for their answer; streams of events do not, nor does what is answered at once."""
        self.turned_away = 0
        """How many found all places taken."""
        self._kept = Kept()
        self._passages: Edition[Passage] = Edition(MAX_PASSAGES)
        self._log = log.bind()
        """Bound once, where `log` is so at each use."""

    def reload(self, policy: Policy) -> None:
        """Serve by another policy from now on."""
        self._policy = policy
        self._passages = Edition(MAX_PASSAGES)
        self._buckets.limit(policy.rate_capacity, policy.rate_per_second)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever becomes of it."""
        request_id = _request_id(request)
        with Asked(request_id):
            passage = self._known(request) or self._new(request)
            response = await self._answer(request, passage, request_id)
            call, route = passage.call, passage.route
            if call.method in READS and not (route is not None and route.costs):
                self._log.debug("api.answered", method=call.method, route=call.place, status=response.status)
            else:
                self._tell(request, call, response.status, request_id)
        return response

    def _known(self, request: web.BaseRequest) -> Passage | None:
        key = key_of(request)
        return None if key is None else self._passages.find(self._edition(), key)

    def _new(self, request: web.BaseRequest) -> Passage:
        path = request.rel_url.raw_path.rstrip("/")
        call = Call(self._ports, self._policy, self._locks, self._kept, request.method, path, {}, request.headers)
        return Passage(call)

    def _edition(self) -> Hashable:
        return self._ports.documents.edition(), self._ports.tokens.edition()

    async def _answer(self, request: web.BaseRequest, passage: Passage, request_id: str) -> web.StreamResponse:
        call = passage.call
        try:
            if request.method == "OPTIONS":
                return self._preflight(request, call, request_id)
            answer = passage.recall() or await self._serve_one_of_many(request, passage)
            if answer.stream is not None:
                return await self._stream(request, call, answer.stream, request_id)
            return respond(passage, answer, request_id)
        # Whatever is raised becomes an answer; what the catalogue does not know is a bug and logged as one.
        except Exception as error:  # noqa: BLE001
            return _refuse(call, error, request_id)

    async def _serve_one_of_many(self, request: web.BaseRequest, passage: Passage) -> Answer:
        if self.under_way >= self._policy.max_requests:
            self.turned_away += 1
            raise TooManyRequests(random.randint(*COME_AGAIN))  # noqa: S311 - spreads load
        self.under_way += 1
        try:
            route = passage.route or await self._let_in_and_keep(request, passage)
            return passage.remember(await route.handler(passage.call))
        finally:
            self.under_way -= 1

    async def _let_in_and_keep(self, request: web.BaseRequest, passage: Passage) -> Route:
        key, edition = key_of(request), self._edition()
        passage.route = route = await self._let_in(request, passage.call)
        if key is not None and is_kept(passage, key):
            self._passages.keep(edition, key, passage)
        return route

    def _tell(self, request: web.BaseRequest, call: Call, status: int, request_id: str) -> None:
        """Log what was asked for by whom, and of which documents."""
        facts = _facts(call, request_id)
        if call.created is not None:
            facts["created"] = call.created
        client = self._client(request)
        log.info("api.answered", method=call.method, route=call.place, status=status, client=client, **facts)

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

    async def _stream(
        self, request: web.BaseRequest, call: Call, stream: Listening, request_id: str
    ) -> web.StreamResponse:
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
                log.debug("events.not_checked", **_facts(call, request_id))
            return True

        return await events.send_events(request, stream, stream_headers(call, request_id), is_welcome)

    def _preflight(self, request: web.BaseRequest, call: Call, request_id: str) -> web.StreamResponse:
        if not is_cross_origin(request.headers):
            raise MethodNotAllowed
        self._find(call)
        return respond_preflight(call, request.headers.get("Access-Control-Request-Method"), request_id)

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


def _refuse(call: Call, error: Exception, request_id: str) -> web.StreamResponse:
    refusal = refuse(error)
    if refusal is None:
        log.error("api.failed", method=call.method, route=call.place, exc_info=error, **_facts(call, request_id))
        refusal = Refusal(500, "unspecified_fault", {"message": "unspecified fault"})
    elif refusal.status >= 500:  # the server's faults
        reason = str(error)
        facts = _facts(call, request_id)
        log.warning("api.refused", route=call.place, reason=reason, status=refusal.status, **facts)
    return respond_refused(call, error, refusal, request_id)


def _facts(call: Call, request_id: str) -> dict[str, str]:
    """Return which request it is, and the ids of what its path names, for the log."""
    ids = {f"{kind.value}_id": document.id for kind, document in call.documents.items()}
    return {"request_id": request_id, **ids}


def _request_id(request: web.BaseRequest) -> str:
    """Return the client's own request id, if it is one that a header and a log can hold, or a new one."""
    given = request.headers.get(REQUEST_ID)
    if given and len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable():
        return given
    return f"{random.getrandbits(128):032x}"
