"""A phone behind a NAT router stays reachable at the flow it registered on (RFC 3581, RFC 5626)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from nat import OUTSIDE, PHONE, ROUTER, Nat, NatUnavailable
from roost_process import Roost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop


@pytest.fixture
def nat() -> Iterator[Nat]:
    """Make the phone's network, or skip where this machine does not allow it."""
    try:
        network = Nat().open()
    except NatUnavailable as reason:
        pytest.skip(f"no network namespaces: {reason}")
    yield network
    network.close()


@pytest.fixture
def outside_roost(nat: Nat, tmp_path: Path) -> Iterator[Roost]:
    """Run a daemon on this machine's end."""
    daemon = Roost(tmp_path / "roost", host=OUTSIDE).create().start()
    yield daemon
    assert daemon.stop() == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_behind_nat_is_reached_for_notify_and_invite(
    nat: Nat, outside_roost: Roost, sipp_phone: Callable[..., SippPhone], transport: str
) -> None:
    """It names an address that nobody outside can reach."""
    device = outside_roost.create_device()
    phone = sipp_phone(outside_roost, device, transport=transport, host=PHONE, prefix=nat.prefix, cord_host=OUTSIDE)
    answer = phone.register()

    assert answer.status == 200
    assert f"received={ROUTER}" in answer.header("Via")
    assert device.id in outside_roost.registered()
    assert outside_roost.sync(device).status == 200
    phone.answer(phone.receive("NOTIFY"), "Answer: 200")
    far_end = sipp_phone(outside_roost, device, host=OUTSIDE, port=outside_roost.route_port, incoming="callee")
    assert outside_roost.quickcall(device, "5551234").status == 200
    phone.receive("INVITE")
    phone.receive("ACK")
    far_end.answer(far_end.receive("INVITE"), "Answer: 486")
    phone.receive("BYE")


def test_a_phone_whose_router_changed_its_port_is_reached_at_the_new_one(
    nat: Nat, outside_roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """The refresh moves the one binding to the new mapping."""
    device = outside_roost.create_device()
    phone = sipp_phone(outside_roost, device, host=PHONE, prefix=nat.prefix, cord_host=OUTSIDE)
    before = phone.register().header("Via")
    nat.give_other_ports()
    phone.send_register(authorized=True)
    time.sleep(2.5)
    refreshed = phone.send_register(authorized=True)

    assert refreshed.status == 200
    assert "rport=30" in before
    assert "rport=40" in refreshed.header("Via")
    assert refreshed.header("Contact").count("sip:") == 1
    assert outside_roost.sync(device).status == 200
    phone.answer(phone.receive("NOTIFY"), "Answer: 200")
