"""Quickcall: ring a device, or all devices of a user, and connect it to a number (contract 5.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from api.call import Answer
from api.errors import CallFailed, InvalidCredentials, ValidationFailed
from api.number_filter import filter_number
from api.ports import NoEndpoint, QuickcallFailed, QuickcallOptions
from api.quickcall_data import callee_id, count_endpoints, describe
from api.quickcall_devices import devices_of, targets
from api.routing import Access, Route, under_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.ports import Document, Json
    from api.quickcall_devices import Target

DEFAULT_TIMEOUT: Final = 30  # seconds that the device rings
MIN_TIMEOUT: Final = 3  # Kazoo wants more than this
MAX_TIMEOUT: Final = 3600
MAX_NUMBER: Final = 256
MAX_NAME: Final = 256


async def call_device(call: Call) -> Answer:
    """GET and POST /devices/{D}/quickcall/{N}."""
    return await _start(call, call.device, (call.device,))


async def call_user(call: Call) -> Answer:
    """GET and POST /users/{U}/quickcall/{N}: all the devices that are the user's now."""
    return await _start(call, call.user, await devices_of(call, call.user))


async def _start(call: Call, owner: Document, devices: Sequence[Document]) -> Answer:
    if call.identity is None and owner.data.get("allow_anonymous_quickcalls") is False:
        raise InvalidCredentials
    reachable = await targets(call, devices)
    options = await _options(call, reachable)
    if not reachable:
        raise NoEndpoint
    rung = [target.device for target in reachable]
    # A GET answers as soon as the devices are being rung; a POST waits for what becomes of it.
    try:
        call_ids = await call.ports.quickcalls.start(owner, rung, options, wait=call.method == "POST")
    except QuickcallFailed as error:
        raise CallFailed(str(error), describe(owner, reachable, options, {})) from None
    data = describe(owner, reachable, options, call_ids)
    for key, value in (
        ("existing_call_id", call.value("target_call_id")),
        ("custom_application_vars", call.value("custom_application_vars")),
    ):
        if value is not None:
            data[key] = value
    return Answer(data)


async def _options(call: Call, reachable: Sequence[Target]) -> QuickcallOptions:
    number = _number(call)
    filtered = await filter_number(number, call.query.get("number_filter", "true"))
    name, shown = callee_id(reachable[0], filtered) if reachable else ("", "")
    bypass = call.value("media") == "bypass"
    return QuickcallOptions(
        number=number,
        filtered_number=filtered,
        auto_answer=count_endpoints(reachable) == 1 and call.query.get("auto_answer", "true").lower() != "false",
        callee_name=_identity(call.value("cid-name")) or name,
        callee_number=_identity(call.value("cid-number")) or shown,
        # With bypass there is no early media: the device is told of the number's media when that has answered.
        ignore_early_media=bypass or call.value("ignore-early-media") not in (False, "false"),
        bypass=bypass,
        timeout=_timeout(call.value("timeout")),
        retain_caller_id=True,
    )


def _number(call: Call) -> str:
    number = call.params["number"]
    if number and len(number) <= MAX_NUMBER and number.isprintable():
        return number
    raise ValidationFailed({"number": {"invalid": {"message": "This cannot be called", "cause": number}}})


def _identity(value: Json) -> str:
    """Return a name or number to show; it comes encoded once more than the query string is."""
    text = unquote(value, errors="replace") if isinstance(value, str) else ""
    return "".join(character for character in text if character.isprintable())[:MAX_NAME]


def _timeout(value: Json) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(MAX_TIMEOUT)) + 1:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= MIN_TIMEOUT:
        return DEFAULT_TIMEOUT
    return min(value, MAX_TIMEOUT)


_ACCOUNT: Final = "/accounts/{account_id}"
_USER: Final = f"{_ACCOUNT}/users/{{user_id}}"
_OPTIONS: Final = (
    "auto_answer",
    "cid-name",
    "cid-number",
    "ignore-early-media",
    "media",
    "number_filter",
    "target_call_id",
    "timeout",
)


def _routes(prefixes: Sequence[str], path: str, *, of_user: bool) -> tuple[Route, ...]:
    handler = call_user if of_user else call_device
    whose = "all devices of a user" if of_user else "a device"
    return tuple(
        route
        for method, how in (("GET", "without waiting"), ("POST", "and wait for the answer"))
        for route in under_each(
            prefixes,
            Route(
                method,
                path,
                handler,
                f"Ring {whose} and connect a number, {how}",
                Access.QUICKCALL,
                body="quickcall" if method == "POST" else None,
                answer="quickcall_data",
                query=_OPTIONS,
                costs=True,
            ),
        )
    )


ROUTES: Final[tuple[Route, ...]] = (
    *_routes((_ACCOUNT, _USER), "/devices/{device_id}/quickcall/{number}", of_user=False),
    *_routes((_USER,), "/quickcall/{number}", of_user=True),
)
