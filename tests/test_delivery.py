"""What becomes of a delivery, as a table of what phones say and do."""

from __future__ import annotations

import pytest

from sip.aor import Aor
from sip.delivery import MOVES, Delivery, DeliveryState, Input, Phase, Watch
from sip.errors import LocalProtocolError
from sip.flow import Address, Flow, Transport
from sip.location import Binding

NOW = 1000.0
WINDOW = 300.0


def delivery(*, watched: bool = True) -> Delivery:
    return Delivery(NOW, WINDOW, watched)


def binding(
    *, contact: str = "sip:bob@10.0.0.9", call_id: str = "old", instance: str = "", host: str = "192.0.2.1"
) -> Binding:
    flow = Flow.between(Transport.UDP, Address("192.0.2.9", 5060), Address(host, 5060))
    return Binding(Aor("bob@acme.test"), "a", "d", contact, flow, call_id, 1, NOW + 60, 60, NOW, NOW, instance=instance)


@pytest.mark.parametrize(
    ("status", "state", "final"),
    [
        pytest.param(200, DeliveryState.DELIVERED, False, id="200-may-yet-restart"),
        pytest.param(202, DeliveryState.DELIVERED, False, id="202"),
        pytest.param(302, DeliveryState.REJECTED, True, id="302"),
        pytest.param(400, DeliveryState.REJECTED, True, id="400"),
        pytest.param(401, DeliveryState.REJECTED, True, id="401-for-ever"),
        pytest.param(403, DeliveryState.REJECTED, True, id="403"),
        pytest.param(405, DeliveryState.UNSUPPORTED, True, id="405"),
        pytest.param(407, DeliveryState.REJECTED, True, id="407-for-ever"),
        pytest.param(408, DeliveryState.UNREACHABLE, True, id="408-of-a-proxy"),
        pytest.param(430, DeliveryState.UNREACHABLE, True, id="430-flow-failed"),
        pytest.param(480, DeliveryState.UNREACHABLE, True, id="480"),
        pytest.param(481, DeliveryState.UNSUPPORTED, True, id="481-wants-a-subscription"),
        pytest.param(482, DeliveryState.UNSUPPORTED, True, id="482"),
        pytest.param(489, DeliveryState.UNSUPPORTED, True, id="489-bad-event"),
        pytest.param(501, DeliveryState.UNSUPPORTED, True, id="501"),
        pytest.param(503, DeliveryState.UNREACHABLE, True, id="503"),
        pytest.param(603, DeliveryState.REJECTED, True, id="603"),
    ],
)
def test_what_an_answer_means(status: int, state: DeliveryState, final: bool) -> None:
    """RFC 3261 21; RFC 6665 8.3.2; what phones answer in fact."""
    sent = delivery()
    sent.answered(status, "Whatever", NOW + 0.25)

    assert (sent.state, sent.final) == (state, final)
    assert (sent.status, sent.reason, sent.latency) == (status, "Whatever", 0.25)


@pytest.mark.parametrize(
    ("story", "state", "final"),
    [
        pytest.param("200", "delivered", False, id="200"),
        pytest.param("200 over", "delivered", True, id="200-and-silence"),
        pytest.param("200 unregistered", "rebooting", False, id="200-then-unregisters"),
        pytest.param("200 silent", "rebooting", False, id="200-then-falls-silent"),
        pytest.param("200 silent restarted", "rebooted", True, id="200-silence-and-a-new-call-id"),
        pytest.param("200 unregistered restarted", "rebooted", True, id="un-registers-and-is-back"),
        pytest.param("200 restarted", "rebooted", True, id="back-before-anybody-missed-it"),
        pytest.param("200 silent back", "delivered", False, id="only-a-lost-packet"),
        pytest.param("200 silent back over", "delivered", True, id="only-a-lost-packet-in-the-end"),
        pytest.param("200 unregistered over", "unreachable", True, id="never-came-back"),
        pytest.param("200 over restarted", "delivered", True, id="a-restart-too-late-is-not-ours"),
        pytest.param("none", "unreachable", False, id="no-answer"),
        pytest.param("none over", "unreachable", True, id="no-answer-and-nothing-after"),
        pytest.param("none back", "unreachable", False, id="no-answer-but-a-refresh"),
        pytest.param("none silent restarted", "rebooted", True, id="no-answer-then-a-new-register"),
        pytest.param("none unregistered", "rebooting", False, id="no-answer-but-un-registers"),
        pytest.param("none unregistered back over", "unreachable", True, id="no-answer-and-the-same-call-id"),
        pytest.param("unregistered", "rebooting", False, id="un-registers-before-it-answers"),
        pytest.param("unregistered 200", "rebooting", False, id="answers-after-it-left"),
        pytest.param("unregistered 403", "rejected", True, id="refuses-after-it-left"),
        pytest.param("restarted 200", "rebooted", True, id="answers-after-its-restart"),
        pytest.param("restarted none", "rebooted", True, id="restarts-instead-of-an-answer"),
        pytest.param("unsent", "unreachable", True, id="never-left"),
        pytest.param("unsent restarted", "unreachable", True, id="a-restart-without-our-doing"),
        pytest.param("403 restarted", "rejected", True, id="refused-and-restarted-by-chance"),
    ],
)
def test_stories(story: str, state: str, final: bool) -> None:
    """Whatever order a phone does things in, what is told is what is known."""
    sent = delivery()
    for step in story.split():
        tell(sent, step)

    assert (sent.state.value, sent.final) == (state, final)


def tell(sent: Delivery, step: str) -> None:
    learnt = {
        "unregistered": Input.UNREGISTERED,
        "silent": Input.FELL_SILENT,
        "back": Input.CAME_BACK,
        "restarted": Input.RESTARTED,
    }
    if step in learnt:
        sent.learn(learnt[step])
    elif step == "over":
        sent.tick(NOW + WINDOW)
    elif step in ("none", "unsent"):
        sent.unanswered(NOW + 32, sent=step == "none")
    else:
        sent.answered(int(step), "", NOW + 1)


def test_the_window_runs_from_the_sending_but_not_before_the_answer() -> None:
    """An answer is awaited for its own time, however short the window is."""
    sent = Delivery(NOW, 10.0)
    sent.tick(NOW + 20)
    assert (sent.deadline, sent.phase) == (None, Phase.SENT)

    sent.unanswered(NOW + 32, sent=True)

    assert (sent.state, sent.final) == (DeliveryState.UNREACHABLE, True)


def test_the_deadline_is_that_of_the_window() -> None:
    sent = delivery()
    sent.answered(200, "OK", NOW + 1)
    sent.tick(NOW + WINDOW - 0.01)

    assert sent.deadline == NOW + WINDOW
    assert not sent.final


def test_an_event_that_restarts_nothing_is_over_with_its_answer() -> None:
    """A message-waiting NOTIFY and a new Call-ID a minute later have nothing to do with each other."""
    sent = delivery(watched=False)
    sent.answered(200, "OK", NOW + 1)
    sent.learn(Input.RESTARTED)

    assert (sent.state, sent.final) == (DeliveryState.DELIVERED, True)


@pytest.mark.parametrize(
    ("story", "resync", "reboot"),
    [
        pytest.param("", False, False, id="sent"),
        pytest.param("200", True, False, id="accepted"),
        pytest.param("none", True, False, id="silent"),
        pytest.param("200 silent", False, False, id="away"),
        pytest.param("403", True, True, id="refused"),
        pytest.param("200 restarted", True, True, id="restarted"),
        pytest.param("200 over", True, True, id="over"),
    ],
)
def test_when_there_is_nothing_more_to_wait_for(story: str, resync: bool, reboot: bool) -> None:
    """A resync is known with the answer, a reboot when the phone is back."""
    sent = delivery()
    for step in story.split():
        tell(sent, step)

    assert (sent.settled(awaits_restart=False), sent.settled(awaits_restart=True)) == (resync, reboot)


def test_every_open_phase_takes_all_that_a_phone_can_do() -> None:
    """What comes from outside can come at any time; only answers have their place."""
    for moves in MOVES.values():
        assert {
            Input.UNREGISTERED,
            Input.FELL_SILENT,
            Input.CAME_BACK,
            Input.RESTARTED,
            Input.WINDOW_OVER,
        } <= moves.keys()


def test_a_second_answer_is_a_bug_of_ours() -> None:
    sent = delivery()
    sent.answered(200, "OK", NOW)
    with pytest.raises(LocalProtocolError):
        sent.answered(200, "OK", NOW)


@pytest.mark.parametrize(
    ("next_one", "gone", "what"),
    [
        pytest.param({"call_id": "old"}, False, Input.CAME_BACK, id="refresh"),
        pytest.param({"call_id": "new"}, False, Input.RESTARTED, id="same-contact"),
        pytest.param({"call_id": "new", "contact": "sip:x@10.0.0.9:1"}, False, Input.RESTARTED, id="same-address"),
        pytest.param({"call_id": "new", "contact": "sip:x@h", "host": "192.0.2.2"}, False, None, id="another-phone"),
        pytest.param(
            {"call_id": "new", "contact": "sip:x@h", "host": "192.0.2.2"}, True, Input.RESTARTED, id="new-address"
        ),
        pytest.param({"call_id": "new", "instance": "<urn:2>"}, True, Input.RESTARTED, id="instance-of-one-side-only"),
    ],
)
def test_a_phone_alone_is_known_again(next_one: dict[str, str], gone: bool, what: Input | None) -> None:
    """By contact or address; by being the only one, where it was seen to leave."""
    watch = Watch.of(binding(), frozenset({"old"}))

    assert watch.registered(binding(**next_one), gone=gone) is what


@pytest.mark.parametrize(
    ("next_one", "what"),
    [
        pytest.param({"call_id": "other", "contact": "sip:other@10.0.0.8"}, None, id="the-others-refresh"),
        pytest.param({"call_id": "new", "host": "192.0.2.2", "contact": "sip:other@10.0.0.8"}, None, id="the-other"),
        pytest.param({"call_id": "new", "instance": "<urn:1>", "contact": "sip:x@h"}, Input.RESTARTED, id="instance"),
        pytest.param({"call_id": "new", "instance": "<urn:2>"}, None, id="another-instance-at-the-same-contact"),
    ],
)
def test_one_of_two_phones_is_known_again(next_one: dict[str, str], what: Input | None) -> None:
    """A device may have several phones, and one's restart is not the other's."""
    watch = Watch.of(binding(instance="<urn:1>" if "instance" in next_one else ""), frozenset({"old", "other"}))

    assert watch.registered(binding(**next_one), gone=True) is what


def test_only_the_phones_own_binding_tells_of_its_leaving() -> None:
    watch = Watch.of(binding(), frozenset({"old"}))

    assert watch.covers(binding())
    assert not watch.covers(binding(contact="sip:other@10.0.0.8"))
