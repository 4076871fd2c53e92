"""The location table."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from sip.aor import Aor, aor_of
from sip.flow import Address, Flow, Transport
from sip.location import Binding, BindingChanges, LocationTable, Reach

FLOW = Flow.between(Transport.UDP, Address("127.0.0.1", 5060), Address("127.0.0.1", 40000))


def _binding(user: str = "bob", *, contact: str = "sip:bob@127.0.0.1:40000", expires_at: float = 100.0) -> Binding:
    return Binding(
        aor=aor_of(user, "acme.test"),
        account_id="acme",
        device_id=f"device-{user}",
        contact=contact,
        flow=FLOW,
        call_id="c1",
        cseq=1,
        expires_at=expires_at,
        granted=60,
        first_registered=0.0,
        registered_at=0.0,
    )


def test_an_expired_binding_is_invisible_before_anything_removes_it() -> None:
    """RFC 3261 10.3: a binding is over when its time is."""
    table = LocationTable()
    table.apply(BindingChanges(put=(_binding(expires_at=10.0),)))

    assert len(table.bindings(Aor("bob@acme.test"), now=9.9)) == 1
    assert table.bindings(Aor("bob@acme.test"), now=10.0) == ()


def test_expire_returns_what_is_over_and_forgets_the_device() -> None:
    """Status stops showing a device when its last binding is over."""
    table = LocationTable()
    late, early = _binding("late", expires_at=20.0), _binding("early", expires_at=10.0)
    table.apply(BindingChanges(put=(late, early)))

    assert table.expire(10.0).removed == (early,)
    assert table.registered_devices("acme") == ["device-late"]
    assert table.next_expiry() == 20.0
    assert len(table) == 1


def test_a_refresh_moves_the_expiry_later() -> None:
    """The deadline that stood is found to be early, and looked at again at the right time."""
    table = LocationTable()
    binding = _binding(expires_at=10.0)
    table.apply(BindingChanges(put=(binding,)))
    table.apply(BindingChanges(put=(replace(binding, expires_at=30.0),)))

    assert not table.expire(10.0)
    assert table.next_expiry() == 30.0
    assert len(table.expire(30.0).removed) == 1


def test_a_refresh_may_move_the_expiry_earlier() -> None:
    """A phone may register anew for a shorter time."""
    table = LocationTable()
    binding = _binding(expires_at=1000.0)
    table.apply(BindingChanges(put=(binding,)))
    table.apply(BindingChanges(put=(replace(binding, expires_at=10.0),)))

    assert table.next_expiry() == 10.0
    assert len(table.expire(10.0).removed) == 1
    assert not table.expire(1000.0)


def test_a_device_with_two_contacts_stays_registered_until_both_are_gone() -> None:
    """Several contacts of an AOR are kept; status lists the device once."""
    table = LocationTable()
    desk, soft = _binding(), _binding(contact="sip:bob@127.0.0.1:50000")
    table.apply(BindingChanges(put=(desk, soft)))
    table.apply(BindingChanges(removed=(desk,)))

    assert table.registered_devices("acme") == ["device-bob"]
    table.apply(BindingChanges(removed=(soft,)))
    assert table.registered_devices("acme") == []
    assert not table.is_registered("acme", "device-bob")


def test_bindings_come_by_q_then_by_time() -> None:
    """RFC 3261 20.10: a higher q is preferred."""
    table = LocationTable()
    low = replace(_binding(contact="sip:low@127.0.0.1"), q=0.1)
    high = replace(_binding(contact="sip:high@127.0.0.1"), q=0.9)
    table.apply(BindingChanges(put=(low, high)))

    assert table.bindings(low.aor, now=0.0) == (high, low)


STEP = st.tuples(
    st.sampled_from(["put", "remove", "expire", "heard", "lost"]),
    st.integers(0, 5),
    st.integers(0, 2),
    st.floats(1, 50),
)


@given(st.lists(STEP, max_size=40))
def test_the_indexes_agree_with_the_bindings(steps: list[tuple[str, int, int, float]]) -> None:
    """After any history, count and devices are those of the bindings that are there."""
    table, now = LocationTable(), 0.0
    history: list[Binding] = []
    for action, user, contact, amount in steps:
        binding = _binding(f"u{user}", contact=f"sip:c{contact}@h", expires_at=now + amount)
        known = [each for each in history if each.key == binding.key]
        if action == "put":
            table.apply(BindingChanges(put=(binding,)))
            history.append(binding)
        elif action in ("heard", "lost"):
            for each in known:  # also those that are there no more
                getattr(table, action)(each, now)
        elif action == "remove":
            table.apply(BindingChanges(removed=(binding,)))
        else:
            now += amount
            table.expire(now)
    live = list(table.account_bindings("acme"))

    assert len(table) == table.count("acme") == len(live)
    assert table.count_reach() == {reach: sum(each.reach is reach for each in live) for reach in Reach}
    assert set(table.registered_devices("acme")) == {binding.device_id for binding in live}
    if live:
        due = table.next_expiry()
        assert due is not None
        assert due <= ceil(min(binding.expires_at for binding in live))


def test_the_bindings_of_a_connection_are_found_until_they_move() -> None:
    """A connection that closes takes its bindings' reachability with it."""
    table = LocationTable()
    flow = Flow.between(Transport.TCP, Address("127.0.0.1", 5060), Address("127.0.0.1", 40001), 1)
    binding = replace(_binding(), flow=flow)
    table.apply(BindingChanges(put=(binding,)))
    assert table.connection_bindings(flow) == (binding,)

    table.apply(BindingChanges(put=(replace(binding, flow=flow._replace(connection=2)),)))
    assert table.connection_bindings(flow) == ()


def test_reachability_is_news_once() -> None:
    binding = _binding()

    assert [binding.lost(1.0), binding.lost(2.0), binding.heard(3.0), binding.heard(4.0)] == [True, False, True, False]
    assert binding.lost_at == 1.0


def test_a_phone_that_comes_back_within_the_second_is_kept_for_its_new_time() -> None:
    """A note of the binding that was removed ends neither the new one, nor is it told twice."""
    table = LocationTable()
    binding = _binding(expires_at=9.5)
    table.apply(BindingChanges(put=(binding,)))
    table.apply(BindingChanges(removed=(binding,)))
    again = replace(binding, expires_at=9.7)
    table.apply(BindingChanges(put=(again,)))

    assert table.expire(10.0).removed == (again,)
    assert len(table) == 0


def test_many_that_are_over_at_once_go_in_portions() -> None:
    """Who ends them has other work between two portions, and none is forgotten."""
    table = LocationTable()
    table.apply(BindingChanges(put=tuple(_binding(f"u{number}", expires_at=10.0) for number in range(120))))
    portions = []
    while (due := table.next_expiry()) is not None:
        portions.append(len(table.expire(due, 50).removed))

    assert [50, 50, 20] == portions
    assert not list(table.account_bindings("acme"))


def test_a_binding_refreshed_over_and_over_is_noted_once() -> None:
    """Refreshes must not fill the agenda: what is noted is at most one page a binding."""
    table = LocationTable()
    for now in range(1000):
        table.apply(BindingChanges(put=(_binding(expires_at=100.0 + now),)))
    looks = 0
    while (due := table.next_expiry()) is not None:
        looks += 1
        table.expire(due)

    assert looks == 2


def test_the_name_that_many_phones_share_is_kept_once() -> None:
    """Each REGISTER brings it in a text of its own."""
    table = LocationTable()
    table.apply(
        BindingChanges(put=tuple(replace(_binding(user), user_agent="".join(("Phone", " 1.0"))) for user in "ab"))
    )
    first, second = table.account_bindings("acme")

    assert first.user_agent is second.user_agent
