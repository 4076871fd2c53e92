"""What a REGISTER does to the bindings of its AOR."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from sip.aor import Aor
from sip.errors import ParseError
from sip.flow import Address, Flow, Transport
from sip.headers import NameAddr
from sip.location import Binding, BindingChanges, LocationTable
from sip.message import Request, Response, parse_message
from sip.registrar import (
    MAX_PATH,
    MAX_WISHES,
    Registrant,
    RegistrarPolicy,
    addressee,
    answer_register,
    process_register,
)

AOR = Aor("bob@acme.test")
FLOW = Flow.between(Transport.UDP, Address("127.0.0.1", 5060), Address("127.0.0.1", 40000))
WHO = Registrant(AOR, "acme", "device-bob", FLOW)


def _register(*contacts: str, cseq: int = 1, call_id: str = "c1", headers: str = "") -> Request:
    lines = "".join(f"Contact: {contact}\r\n" for contact in contacts)
    text = (
        "REGISTER sip:acme.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:40000;branch=z9hG4bK1\r\n"
        f"From: <sip:bob@acme.test>;tag=a\r\nTo: <sip:bob@acme.test>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} REGISTER\r\n{lines}{headers}Content-Length: 0\r\n\r\n"
    )
    message = parse_message(text.encode())
    assert isinstance(message, Request)
    return message


class Answered(NamedTuple):
    """What became of a REGISTER."""

    response: Response
    changes: BindingChanges


class Registrar:
    """A table that REGISTERs are applied to, one after the other."""

    def __init__(self, **policy: int) -> None:
        self.table = LocationTable()
        self.policy = RegistrarPolicy(**policy)

    def __call__(self, request: Request, now: float = 0.0) -> Answered:
        result = process_register(request, self.bindings(now), self.policy, WHO, now)
        self.table.apply(result.changes)
        return Answered(answer_register(request, result, now), result.changes)

    def bindings(self, now: float = 0.0) -> tuple[Binding, ...]:
        return self.table.bindings(AOR, now)


@pytest.mark.parametrize(
    "to",
    [
        "<sip:Bob@ACME.test>",
        "\"Bob <x>, 'y'\" <sips:bob@acme.test>",
        "sip:bob@acme.test",
        "<sip:b%6Fb@acme.test:5070;transport=tcp>;tag=1",
        "<SIP:bob:secret@acme.test?a=b>",
        "Bob <sip:bob@acme.test> ",
    ],
)
def test_who_registers_is_named_in_many_ways(to: str) -> None:
    request = _register()
    request.set("To", to)

    assert ("bob", "acme.test") == addressee(request)


@pytest.mark.parametrize("to", ["<sip:acme.test>", "<tel:+123>", "<sip:bob@acme.test", '"Bob" <sip:b<ob@acme.test>'])
def test_who_registers_must_be_named(to: str) -> None:
    request = _register()
    request.set("To", to)

    with pytest.raises(ParseError):
        addressee(request)


def test_a_contact_is_bound_and_listed_with_its_expiry() -> None:
    """RFC 3261 10.3 steps 7 and 8."""
    registrar = Registrar()
    result = registrar(_register("<sip:bob@127.0.0.1:40000>;expires=120"))

    assert result.response.status == 200
    assert result.response.values("Contact") == ["<sip:bob@127.0.0.1:40000>;expires=120"]
    assert [binding.expires_at for binding in registrar.bindings()] == [120.0]


@pytest.mark.parametrize(
    ("contact", "headers", "granted"),
    [
        pytest.param("<sip:b@h>;expires=100", "Expires: 200\r\n", 100, id="contact-before-header"),
        pytest.param("<sip:b@h>", "Expires: 200\r\n", 200, id="header"),
        pytest.param("<sip:b@h>", "", 3600, id="neither"),
        pytest.param('<sip:b@h>;expires="300"', "", 300, id="quoted"),
        pytest.param("<sip:b@h>;expires=2147483647", "", 3600, id="capped"),
        pytest.param("<sip:b@h>;expires=99999999999999999999", "", 3600, id="overlarge-is-default"),
        pytest.param("<sip:b@h>", "Expires: 3600User-Agent: x\r\n", 3600, id="missing-crlf-is-default"),
    ],
)
def test_expiry(contact: str, headers: str, granted: int) -> None:
    """RFC 3261 10.2.1.1 and 10.3 step 6."""
    assert [binding.granted for binding in Registrar()(_register(contact, headers=headers)).changes.put] == [granted]


def test_too_brief_an_interval_is_refused_with_the_least() -> None:
    """RFC 3261 10.3 step 7: 423 with Min-Expires."""
    response = Registrar()(_register("<sip:b@h>;expires=59")).response

    assert response.status == 423
    assert response.one("Min-Expires") == "60"


def test_zero_expires_removes_one_contact() -> None:
    """RFC 3261 10.2.2."""
    registrar = Registrar()
    registrar(_register("<sip:b@one>", "<sip:b@two>"))
    result = registrar(_register("<sip:b@one>;expires=0", cseq=2))

    assert [binding.contact for binding in registrar.bindings()] == ["sip:b@two"]
    assert len(result.changes.removed) == 1
    assert len(result.response.values("Contact")) == 1


def test_star_removes_all() -> None:
    """RFC 3261 10.2.2."""
    registrar = Registrar()
    registrar(_register("<sip:b@one>", "<sip:b@two>"))
    result = registrar(_register("*", cseq=2, headers="Expires: 0\r\n"))

    assert result.response.status == 200
    assert registrar.bindings() == ()


@pytest.mark.parametrize(
    ("contacts", "headers"),
    [
        pytest.param(["*"], "", id="without-expires"),
        pytest.param(["*"], "Expires: 60\r\n", id="with-a-time"),
        pytest.param(["*", "<sip:b@h>"], "Expires: 0\r\n", id="with-another"),
    ],
)
def test_star_in_wrong_company_is_refused(contacts: list[str], headers: str) -> None:
    """RFC 3261 10.3 step 6."""
    assert Registrar()(_register(*contacts, headers=headers)).response.status == 400


def test_no_contact_asks_for_the_list() -> None:
    """RFC 3261 10.2.3."""
    registrar = Registrar()
    registrar(_register("<sip:b@one>;expires=100"))
    result = registrar(_register(cseq=2), now=40.0)

    assert result.response.values("Contact") == ["<sip:b@one>;expires=60"]
    assert not result.changes


def test_register_with_lower_cseq_is_refused() -> None:
    """RFC 3261 10.3 step 7: a reordered request undoes nothing."""
    registrar = Registrar()
    registrar(_register("<sip:b@one>", cseq=5))
    result = registrar(_register("<sip:b@one>;expires=0", cseq=4))

    assert result.response.status == 400
    assert len(registrar.bindings()) == 1


def test_star_with_lower_cseq_is_refused() -> None:
    """RFC 3261 10.3 step 6."""
    registrar = Registrar()
    registrar(_register("<sip:b@one>", cseq=5))

    assert registrar(_register("*", cseq=4, headers="Expires: 0\r\n")).response.status == 400
    assert len(registrar.bindings()) == 1


def test_a_new_call_id_may_start_its_cseq_anew() -> None:
    """RFC 3261 10.3 step 7: a phone that restarted counts from one."""
    registrar = Registrar()
    registrar(_register("<sip:b@one>", cseq=50))

    assert registrar(_register("<sip:b@one>", cseq=1, call_id="c2")).response.status == 200
    assert [(binding.call_id, binding.cseq) for binding in registrar.bindings()] == [("c2", 1)]


def test_the_same_request_again_gets_the_same_answer() -> None:
    """A retransmission that no transaction remembers any more is harmless."""
    registrar = Registrar()
    first = registrar(_register("<sip:b@one>"))
    again = registrar(_register("<sip:b@one>"))

    assert first.response.values("Contact") == again.response.values("Contact")
    assert len(registrar.bindings()) == 1


def test_contacts_compare_as_uris() -> None:
    """RFC 3261 19.1.4."""
    registrar = Registrar()
    registrar(_register("<sip:%62ob@HOST;transport=UDP>"))
    registrar(_register("<sip:bob@host;transport=udp>", cseq=2))

    assert [binding.contact for binding in registrar.bindings()] == ["sip:bob@host;transport=udp"]


def test_an_instance_replaces_its_flow() -> None:
    """RFC 5626 6: the same instance and reg-id take the place of the old contact."""
    registrar = Registrar()
    registrar(_register('<sip:b@10.0.0.1>;+sip.instance="<urn:uuid:1>";reg-id=1'))
    result = registrar(_register('<sip:b@10.0.0.2>;+sip.instance="<urn:uuid:1>";reg-id=1', call_id="c2"))

    assert [binding.contact for binding in registrar.bindings()] == ["sip:b@10.0.0.2"]
    assert [binding.contact for binding in result.changes.removed] == ["sip:b@10.0.0.1"]
    assert ';+sip.instance="<urn:uuid:1>";reg-id=1' in result.response.values("Contact")[0]


def test_one_contact_too_many_is_refused_and_changes_nothing() -> None:
    """The limit of contacts is by AOR."""
    registrar = Registrar(max_contacts=2)
    registrar(_register("<sip:b@one>", "<sip:b@two>"))
    result = registrar(_register("<sip:b@three>", cseq=2))

    assert result.response.status == 403
    assert not result.changes


@pytest.mark.parametrize(
    "contact",
    [
        pytest.param("sip:user@example.com?Route=%3Csip:sip.example.com%3E", id="regbadct"),
        pytest.param("<name:John_Smith>", id="unksm2"),
        pytest.param("<sip:b@h", id="unclosed"),
        pytest.param("<sip:b@h>;=x", id="nameless-parameter"),
    ],
)
def test_a_bad_contact_is_refused_whole(contact: str) -> None:
    """RFC 4475 3.1.2.13, 3.3.4: never store a half-read contact."""
    registrar = Registrar()
    result = registrar(_register("<sip:b@good>", contact))

    assert result.response.status == 400
    assert registrar.bindings() == ()


def test_path_is_kept_and_returned() -> None:
    """RFC 3327 5.3."""
    registrar = Registrar()
    result = registrar(_register("<sip:b@h>", headers="Path: <sip:p1;lr>, <sip:p2;lr>\r\nSupported: path\r\n"))

    assert registrar.bindings()[0].path == ("<sip:p1;lr>", "<sip:p2;lr>")
    assert result.response.values("Path") == ["<sip:p1;lr>", "<sip:p2;lr>"]


@pytest.mark.parametrize(
    ("contact", "headers", "required"),
    [
        pytest.param(
            '<sip:b@h>;+sip.instance="<urn:uuid:1>";reg-id=1', "Supported: outbound\r\n", ["outbound"], id="flow"
        ),
        pytest.param('<sip:b@h>;+sip.instance="<urn:uuid:1>";reg-id=1', "", [], id="phone-does-not-know-it"),
        pytest.param("<sip:b@h>", "Supported: outbound\r\n", [], id="no-flow"),
        pytest.param(
            '<sip:b@h>;+sip.instance="<urn:uuid:1>";reg-id=1',
            "Supported: outbound, path\r\nPath: <sip:p;lr>\r\n",
            [],
            id="through-a-proxy",
        ),
    ],
)
def test_a_phone_is_told_that_its_flows_count(contact: str, headers: str, required: list[str]) -> None:
    """RFC 5626 6."""
    assert required == Registrar()(_register(contact, headers=headers)).response.values("Require")


def test_an_instance_with_quotes_does_not_break_out_of_them() -> None:
    registrar = Registrar()
    result = registrar(_register('<sip:b@h>;+sip.instance="<urn:\\"x>";reg-id=1'))
    (address,) = map(NameAddr.parse, result.response.values("Contact"))

    assert '<urn:"x>' == registrar.bindings()[0].instance == address.param("+sip.instance")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param("Path: <edge>\r\n", id="no-uri"),
        pytest.param("Path: <sip:p;lr\r\n", id="unclosed"),
        pytest.param("Path: " + ", ".join(["<sip:p;lr>"] * (MAX_PATH + 1)) + "\r\n", id="too-long"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(headers: str) -> None:
    registrar = Registrar()

    assert 400 == registrar(_register("<sip:b@h>", headers=headers)).response.status
    assert registrar.bindings() == ()


def test_more_contacts_than_any_phone_has_are_refused_unread() -> None:
    """Each costs time, and those in one request the square of it."""
    registrar = Registrar(max_contacts=100)
    most = [f"<sip:{number}@h>;expires=0" for number in range(MAX_WISHES)]

    assert 200 == registrar(_register(*most)).response.status
    assert 400 == registrar(_register(*most, "<sip:one@more>")).response.status


def test_when_full_the_longest_unreachable_contact_goes() -> None:
    """A phone that went away must not lock its successor out."""
    registrar = Registrar(max_contacts=2)
    registrar(_register("<sip:b@one>", "<sip:b@two>"))
    one, two = sorted(registrar.bindings(), key=lambda binding: binding.contact)
    two.lost(now=5.0)
    one.lost(now=9.0)
    result = registrar(_register("<sip:b@three>", cseq=2), now=10.0)

    assert result.response.status == 200
    assert {binding.contact for binding in registrar.bindings(10.0)} == {"sip:b@one", "sip:b@three"}


@pytest.mark.parametrize(("chance", "granted"), [(0.0, 1000), (0.5, 950), (1.0, 900)])
def test_granted_times_are_spread(chance: float, granted: int) -> None:
    """Phones that came together, after a power cut, must not come back together."""
    policy, who = RegistrarPolicy(expires_jitter=0.1), replace(WHO, chance=chance)
    result = process_register(_register("<sip:b@h>;expires=1000"), (), policy, who, now=0.0)

    assert [binding.granted for binding in result.changes.put] == [granted]


def test_the_spread_never_goes_below_the_least() -> None:
    """RFC 3261 10.3: what we would refuse we do not grant."""
    policy, who = RegistrarPolicy(min_expires=60, expires_jitter=0.5), replace(WHO, chance=1.0)
    result = process_register(_register("<sip:b@h>;expires=61"), (), policy, who, now=0.0)

    assert [binding.granted for binding in result.changes.put] == [60]
