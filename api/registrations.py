"""Registrations: the live bindings as Kazoo's registrar tells them (contract 5.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.errors import UnknownKey
from api.routing import Access, Route

if TYPE_CHECKING:
    from api.call import Call
    from api.ports import Document, Json, JsonObject, Registration

GRACE: Final = 180  # seconds that Kazoo's registrar adds to what it granted


async def list_registrations(call: Call) -> Answer:
    """GET /registrations: all of the account's, without pages."""
    rows: list[Json] = [_row(each, call.account) for each in call.ports.presence.registrations(call.account.id)]
    return Answer(rows)


async def count_registrations(call: Call) -> Answer:
    """GET /registrations/count."""
    return Answer({"count": call.ports.presence.count(call.account.id)})


async def count_all_registrations(call: Call) -> Answer:
    """GET /v2/registrations/count: those of the whole system, for the superduper admin."""
    return Answer({"count": call.ports.presence.count(None)})


async def drop_registrations(call: Call) -> Answer:
    """DELETE /registrations: forget them all; no phone is told."""
    await call.ports.presence.drop_all(call.account.id)
    return Answer("ok")


async def flush_registration(call: Call) -> Answer:
    """DELETE /registrations/{username}: check-sync, and forget; no registration is no fault."""
    username = call.params["username"]
    if not await call.ports.control.flush(call.account.id, username):
        raise UnknownKey(username)
    return Answer("ok")


def _row(each: Registration, account: Document) -> JsonObject:
    row: JsonObject = {
        "username": each.username,
        "realm": each.realm,
        "account_realm": account.data.get("realm"),
        "account_name": account.data.get("name"),
        "authorizing_id": each.device_id,
        "authorizing_type": "device",
        "owner_id": each.owner_id,
        "contact": each.contact,
        "original_contact": each.contact,
        "contact_ip": each.received_host,
        "contact_port": each.received_port,
        "proxy_path": each.path[0] if each.path else None,
        "proxy_protocol": each.transport,
        "call_id": each.call_id,
        "user_agent": each.user_agent,
        "from_user": each.from_user,
        "from_host": each.from_host,
        "to_user": each.username,
        "to_host": each.realm,
        "network_ip": each.received_host,
        "network_port": each.received_port,
        "source_ip": each.received_host,
        "source_port": each.received_port,
        "expires": each.granted + GRACE,
        "event_timestamp": each.last_registered,
        "initial_registration": each.first_registered,
        "last_registration": each.last_registered,
    }
    return {key: value for key, value in row.items() if value is not None}


_ALL: Final = "/accounts/{account_id}/registrations"

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", _ALL, list_registrations, "List the registrations", answer="registration_rows"),
    Route("DELETE", _ALL, drop_registrations, "Forget all registrations", answer="text"),
    Route("GET", f"{_ALL}/count", count_registrations, "Count the registrations", answer="count"),
    Route("DELETE", f"{_ALL}/{{username}}", flush_registration, "Flush the registration of a username", answer="text"),
    Route(
        "GET",
        "/registrations/count",
        count_all_registrations,
        "Count the registrations of the whole system",
        Access.SUPERDUPER,
        answer="count",
    ),
)
