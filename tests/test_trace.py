"""Which messages are a device's, and how many of them are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.ports import Document, Kind, TooManyTraces
from daemon import trace as trace_module
from daemon.directory import Directory
from daemon.trace import MAX_BYTES, MAX_LENGTH, MAX_TRACES, Tracer
from sip.flow import Address, Flow, Transport
from sip.io.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import HandClock

US = Address("0.0.0.0", 5060)
PHONE = Flow.between(Transport.UDP, US, Address("127.0.0.7", 5062))
OTHER = Flow.between(Transport.UDP, US, Address("127.0.0.8", 5062))
SECRET = b"0123456789abcdef"


def document(kind: Kind, account_id: str, document_id: str, **data: Any) -> Document:
    return Document(kind, account_id, document_id, "1-a", 1, 1, data, {})


BOB = document(Kind.DEVICE, "a", "bob", sip={"username": "bob", "password": "x"})
ANN = document(Kind.DEVICE, "a", "ann", sip={"username": "ann", "password": "x"})
STRANGER = document(Kind.DEVICE, "b", "bob2", sip={"username": "bob", "password": "x"})


class OneEndpoint:
    """What the tap needs of an endpoint."""

    tap: Any = None


class TableBindings:
    """Bindings that a test writes down."""

    def __init__(self) -> None:
        self.flows: dict[str, list[tuple[Flow, tuple[str, ...]]]] = {}

    def bindings(self, _account_id: str, device_id: str) -> Sequence[Any]:
        return [type("Bound", (), {"flow": flow, "path": path}) for flow, path in self.flows.get(device_id, [])]


class Bench:
    """A tracer over devices of two accounts."""

    def __init__(self, clock: HandClock) -> None:
        directory = Directory()
        for account, realm, admin in (("a", "a.test", True), ("b", "b.test", False)):
            made = Document(
                Kind.ACCOUNT, account, account, "1-a", 1, 1, {"realm": realm}, {"pvt_superduper_admin": admin}
            )
            directory.changed(None, made)
        for device in (BOB, ANN, STRANGER):
            directory.changed(None, device)
        self.clock = clock
        self.endpoint = OneEndpoint()
        self.table = TableBindings()
        self.tracer = Tracer(
            Tap(self.endpoint),  # type: ignore[arg-type]  # all that it uses of it
            directory,
            self.table,  # type: ignore[arg-type]
            is_own=lambda host: host == "127.0.0.1",
            clock=clock,
        )

    def start(self, device: Document = BOB, *, seconds: int = 60, messages: int = 100) -> None:
        self.tracer.start(device, seconds=seconds, messages=messages)

    def receive(self, text: bytes, flow: Flow = PHONE, *, sent: bool = False) -> None:
        if self.endpoint.tap is not None:
            self.endpoint.tap(text, flow, None, sent)

    def kept(self, device: Document = BOB) -> list[bytes]:
        trace = self.tracer.get(device.account_id, device.id)
        assert trace is not None
        return [each.data for each in trace.messages]


@pytest.fixture
def bench(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("sip.io.tap.time.time", clock)
    return Bench(clock)


def message(from_: str, to: str, *lines: str, call_id: str = "c1") -> bytes:
    head = ("OPTIONS sip:x SIP/2.0", f"From: <{from_}>;tag=1", f"To: <{to}>", f"Call-ID: {call_id}", *lines)
    return "\r\n".join(head).encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        pytest.param(message("sip:bob@a.test", "sip:1@x.test"), {"bob"}, id="from"),
        pytest.param(message("sip:1@x.test", "sip:BOB@A.test"), {"bob"}, id="to"),
        pytest.param(message("sip:bob@127.0.0.1", "sip:x@x.test"), {"bob"}, id="address-means-the-default-account"),
        pytest.param(message("sip:bob@b.test", "sip:x@x.test"), set(), id="same-username-of-another-account"),
        pytest.param(message("sip:ann@a.test", "sip:bob@a.test"), {"ann", "bob"}, id="both"),
        pytest.param(message("sip:x@x.test", "sip:y@x.test"), set(), id="nobody"),
        pytest.param(
            message("sip:x@x", "sip:x@x", 'Authorization: Digest username="bob", realm="a.test"'), {"bob"}, id="digest"
        ),
        pytest.param(message("no address", ";;;", "Authorization: ,,="), set(), id="nothing-readable"),
    ],
)
def test_device_is_known_by_its_name(bench: Bench, text: bytes, owners: set[str]) -> None:
    """In From, To or credentials, by the rules that registrations have."""
    bench.start(BOB)
    bench.start(ANN)
    bench.receive(text, OTHER)

    assert {each.id for each in (BOB, ANN) if bench.kept(each)} == owners


def test_dialog_is_followed_by_its_call_id(bench: Bench) -> None:
    """Where later messages name nobody that we know."""
    bench.start()
    bench.receive(message("sip:2600@x", "sip:bob@a.test", call_id="d"), OTHER)
    bench.receive(message("sip:2600@x", "sip:renamed@x", call_id="d"), OTHER)
    bench.receive(message("sip:2600@x", "sip:renamed@x", call_id="e"), OTHER)

    assert len(bench.kept()) == 2


def test_what_names_nobody_is_its_phones_by_the_flow(bench: Bench) -> None:
    """Also what is no SIP; but nothing that names another device, and nothing over an edge proxy's flow."""
    bench.start()
    bench.start(ANN)
    bench.table.flows = {"bob": [(PHONE, ())], "ann": [(OTHER, ("<sip:edge;lr>",))]}
    for flow, call_id in ((PHONE, "p"), (OTHER, "o")):
        bench.receive(message("sip:x@x", "sip:x@x", call_id=call_id), flow)
        bench.receive(b"not SIP", flow)
        bench.receive(message("sip:bob@b.test", "sip:bob@b.test", call_id="z"), flow)

    assert bench.kept() == [message("sip:x@x", "sip:x@x", call_id="p"), b"not SIP"]
    assert bench.kept(ANN) == []


def test_call_id_of_a_device_brings_it_no_messages_of_another(bench: Bench) -> None:
    """Who guesses a Call-ID learns nothing."""
    bench.start()
    bench.receive(message("sip:bob@a.test", "sip:x@x", call_id="guessed"))
    bench.receive(message("sip:ann@a.test", "sip:x@x", call_id="guessed"), OTHER)

    assert len(bench.kept()) == 1


def test_kept_messages_have_no_secrets_and_real_addresses(bench: Bench) -> None:
    """The address that a listener on all addresses has towards the peer."""
    bench.start()
    bench.receive(message("sip:bob@a.test", "sip:x", f'Authorization: Digest response="{SECRET.decode()}"'))
    trace = bench.tracer.get("a", "bob")
    assert trace is not None
    (seen,) = trace.messages

    assert SECRET not in seen.data
    assert (seen.source, seen.destination) == (PHONE.remote, Address("127.0.0.1", 5060))


def test_oldest_messages_make_room(bench: Bench) -> None:
    """By number and by size; how many is told."""
    text = message("sip:bob@a.test", "sip:x")
    bench.start(messages=3)
    for number in range(10):
        bench.receive(text + b"%d" % number)
    first = bench.tracer.get("a", "bob")
    bench.start(messages=2000)
    for _ in range(1000):
        bench.receive(text + bytes(MAX_LENGTH + 10))
    second = bench.tracer.get("a", "bob")

    assert first is not None
    assert second is not None
    assert ([each.number for each in first.messages], first.dropped) == ([8, 9, 10], 7)
    assert sum(len(each.data) for each in second.messages) <= MAX_BYTES
    assert {len(each.data) for each in second.messages} == {MAX_LENGTH}
    assert second.dropped == 1000 - MAX_BYTES // MAX_LENGTH


def test_trace_ends_in_time_and_stays_to_be_read(bench: Bench) -> None:
    """And then nobody looks at messages any more, though no further one is the device's."""
    bench.start(seconds=60)
    bench.receive(message("sip:bob@a.test", "sip:x"))
    watched = bench.endpoint.tap is not None
    bench.clock.now += 61
    bench.receive(message("sip:ann@a.test", "sip:x"), OTHER)
    trace = bench.tracer.get("a", "bob")

    assert watched
    assert bench.endpoint.tap is None
    assert trace is not None
    assert (trace.running, len(trace.messages)) == (False, 1)


def test_stop_and_clear(bench: Bench) -> None:
    """What was stopped stays until it is cleared."""
    bench.start()
    bench.receive(message("sip:bob@a.test", "sip:x"))
    stopped = bench.tracer.stop("a", "bob")
    bench.receive(message("sip:bob@a.test", "sip:x"))

    assert stopped is not None
    assert not stopped.running
    assert len(bench.kept()) == 1
    assert bench.endpoint.tap is None
    bench.tracer.clear("a", "bob")
    assert bench.tracer.get("a", "bob") is None
    assert bench.tracer.stop("a", "bob") is None


def test_traces_are_limited_in_number(bench: Bench) -> None:
    """One that is over makes room for a new one; those that run do not."""
    devices = [document(Kind.DEVICE, "a", f"d{number}") for number in range(MAX_TRACES + 1)]
    for device in devices[:-1]:
        bench.start(device)
    with pytest.raises(TooManyTraces):
        bench.start(devices[-1])
    bench.tracer.stop("a", "d3")
    bench.start(devices[-1])

    assert bench.tracer.get("a", "d3") is None
    assert bench.tracer.get("a", "d4") is not None


def test_call_ids_are_limited_in_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten."""
    monkeypatch.setattr(trace_module, "MAX_CALLS", 2)
    bench.start()
    for call_id in ("1", "2", "3"):
        bench.receive(message("sip:bob@a.test", "sip:x", call_id=call_id))
    for call_id in ("1", "3"):
        bench.receive(message("sip:x@x", "sip:x@x", call_id=call_id), OTHER)

    assert len(bench.kept()) == 4
