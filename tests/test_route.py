"""The way of our requests through the edge proxies that a phone registered by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sip.aor import Aor
from sip.errors import ParseError
from sip.flow import Address, Flow, Transport
from sip.headers import NameAddr
from sip.invite import Invitee, build_invite
from sip.location import Binding
from sip.notify import NotifyOrigin, NotifyTarget, notify
from sip.ping import build_ping
from sip.route import way_along

if TYPE_CHECKING:
    from sip.message import Request

PHONE = "sip:bob@10.0.0.9:5062"
LOOSE, STRICT = "<sip:edge.example;lr>", "<sip:old.example:5070>"
ORIGIN = NotifyOrigin("c1", "f1", "<sip:203.0.113.1>")
AOR = Aor("bob@acme.test")


def _notify(path: tuple[str, ...]) -> Request:
    return notify(NotifyTarget(PHONE, AOR, "acme.test", path), ORIGIN, event="check-sync")


def _options(path: tuple[str, ...]) -> Request:
    flow = Flow.between(Transport.UDP, Address("192.0.2.1", 5060), Address("192.0.2.2", 5060))
    return build_ping(Binding(AOR, "a", "d", PHONE, flow, "c", 1, 60.0, 60, 0.0, 0.0, path=path), ORIGIN)


def _invite(path: tuple[str, ...]) -> Request:
    who = NameAddr("", "sip:bob@acme.test")
    return build_invite(Invitee(PHONE, "c1", who.with_param("tag", "f"), who, path), "<sip:203.0.113.1>", b"")


@pytest.mark.parametrize(
    ("path", "uri", "routes"),
    [
        pytest.param((), PHONE, [], id="none"),
        pytest.param((LOOSE, STRICT), PHONE, [LOOSE, STRICT], id="loose-first"),
        pytest.param((STRICT, LOOSE), "sip:old.example:5070", [LOOSE, f"<{PHONE}>"], id="strict-first"),
        pytest.param((STRICT,), "sip:old.example:5070", [f"<{PHONE}>"], id="strict-alone"),
    ],
)
@pytest.mark.parametrize("build", [_notify, _options, _invite], ids=["notify", "options", "invite"])
def test_requests_go_along_the_path(build, path: tuple[str, ...], uri: str, routes: list[str]) -> None:  # type: ignore[no-untyped-def]
    """RFC 3327 5.3; a router without lr takes its own URI as Request-URI (RFC 3261 12.2.1.1)."""
    request = build(path)

    assert (uri, routes) == (request.uri, request.lines("Route"))


def test_an_unreadable_route_is_no_way() -> None:
    with pytest.raises(ParseError):
        way_along(("<edge>",), PHONE)
