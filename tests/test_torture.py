"""The torture messages of RFC 4475 and messages of real phones, as far as a parser can judge them.

They stand beside the checkout, not in it; without them these tests are skipped.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from wire import faults_of

from sip.errors import ParseError
from sip.headers import CSeq, NameAddr
from sip.message import Message, Request, Response, parse_message
from sip.stream import StreamFramer
from sip.uri import SipUri, unescape

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
TORTURE = CORPUS / "rfc4475"
PHONES = sorted((CORPUS / "phones").glob("*.sip"))

pytestmark = pytest.mark.skipif(not TORTURE.is_dir(), reason="the corpus does not stand beside the checkout")

FAULTS: dict[str, dict[str, int]] = {
    "badinv01": {"via": 400, "vias": 400, "contact": 400},
    "clerr": {"message": 400},
    "ncl": {"message": 400},
    "scalar02": {"cseq": 400},
    "scalarlg": {"cseq": 400},
    "quotbal": {"to": 400},
    "ltgtruri": {"request-uri": 400},
    "lwsruri": {"message": 400},
    "lwsstart": {"message": 400},
    "trws": {"message": 400},
    "regbadct": {"contact": 400},
    "baddn": {"message": 400, "from_": 400, "to": 400},
    "badvers": {"message": 505},
    "insuf": {"call_id": 400, "from_": 400, "to": 400},
    "unkscm": {"request-uri": 416},
    "novelsc": {"request-uri": 416},
    "unksm2": {"contact": 416},
    "multi01": {"call_id": 400, "cseq": 400, "from_": 400, "to": 400},
    "mcl01": {"message": 400},
}
"""What the parser finds, where it finds anything."""

LEFT_TO_OTHERS = {
    "escruri": "escaped headers of a Request-URI are never obeyed",
    "baddate": "Date is not read",
    "badaspec": "spaces around the URI within the brackets are read, as the RFC allows",
    "mismatch01": "the methods of start line and CSeq are compared by the UAS",
    "mismatch02": "the methods of start line and CSeq are compared by the UAS",
    "bigcode": "is no response at all",
}
"""Invalid messages in which the parser finds nothing, and why."""


def expectations() -> list[tuple[str, str]]:
    """Return name and class of each message."""
    if not TORTURE.is_dir():
        return []
    with (TORTURE / "EXPECT.tsv").open(encoding="utf-8") as file:
        return [(row["file"].removesuffix(".dat"), row["class"]) for row in csv.DictReader(file, delimiter="\t")]


def torture(name: str) -> Message:
    return parse_message((TORTURE / f"{name}.dat").read_bytes())


@pytest.mark.parametrize(("name", "kind"), expectations())
def test_torture_message_is_judged_as_its_class_says(name: str, kind: str) -> None:
    """Valid ones are without fault; of the invalid ones, each fault is named or somebody else's (RFC 4475 3)."""
    if name == "bigcode":
        with pytest.raises(ParseError):
            torture(name)
        return

    assert FAULTS.get(name, {}) == faults_of(torture(name))
    if kind in ("valid", "compat"):
        assert name not in FAULTS
    if kind == "invalid":
        assert name in FAULTS or name in LEFT_TO_OTHERS


def test_wsinv() -> None:
    """A short tortuous INVITE (RFC 4475 3.1.1.1)."""
    message = torture("wsinv")

    assert message.cseq == CSeq(9, "INVITE")
    assert (message.to.display, message.to.tag) == ("", "1918181833n")
    assert (message.from_.display, message.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert message.call_id == "wsinv.ndaksdj@192.0.2.1"
    assert [via.partition(";")[0].split()[-1] for via in message.values("Via")] == [
        "192.0.2.2",
        "spindle.example.com",
        "192.168.255.111",
    ]
    assert message.values("Route") == ["<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"]


def test_intmeth() -> None:
    """A wide range of valid characters (RFC 4475 3.1.1.2)."""
    message = torture("intmeth")

    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.from_.param("fromparam''~+*_!.-%") == "работающий"


def test_escaped_nulls_end_no_string() -> None:
    """RFC 4475 3.1.1.4."""
    first, second = (SipUri.parse(NameAddr.parse(value).uri) for value in torture("escnull").values("Contact"))

    assert first != second
    assert "\0" not in unescape(first.user or "") + unescape(second.user or "")


def test_long_values_are_not_cut() -> None:
    """RFC 4475 3.1.1.7."""
    message = torture("longreq")

    assert len(message.values("Via")) == 34
    assert message.from_.tag == "12" + "982" * 50 + "424"
    assert message.call_id == "longreq.one" + "really" * 20 + "longcallid"


def test_semicolon_in_the_user_begins_no_parameter() -> None:
    """RFC 4475 3.1.1.9."""
    message = torture("semiuri")
    assert isinstance(message, Request)
    uri = SipUri.parse(message.uri)

    assert (unescape(uri.user or ""), uri.host, uri.params) == ("user;par=u@example.net", "example.com", ())


def test_trailing_octets_and_binary_bodies() -> None:
    """RFC 4475 3.1.1.8 and 3.1.1.11."""
    assert torture("dblreq").body == b""
    body = torture("mpart01").body
    assert len(body) == int(torture("mpart01").one("Content-Length"))
    assert b"\x00" in body


def test_reason_phrases() -> None:
    """RFC 4475 3.1.1.12 and 3.1.1.13."""
    empty, unusual = torture("noreason"), torture("unreason")

    assert isinstance(empty, Response)
    assert (empty.status, empty.reason) == (100, "")
    assert isinstance(unusual, Response)
    assert unusual.reason.startswith("= 2**3 * 5**2 ")


def test_contact_parameters_are_not_those_of_its_uri() -> None:
    """RFC 4475 3.3.12 and 3.3.13."""
    of_header, of_uri = (NameAddr.parse(torture(name).one("Contact")) for name in ("cparam01", "cparam02"))

    assert of_header.params[0][0] == "unknownparam"
    assert SipUri.parse(of_header.uri).params == ()
    assert SipUri.parse(of_uri.uri).params[0][0] == "unknownparam"
    assert of_uri.params == ()


@pytest.mark.parametrize("file", PHONES, ids=lambda file: file.stem)
def test_message_of_a_real_phone_is_read_and_written_back(file: Path) -> None:
    """Without a fault, and the same when it has gone out and come back."""
    message = parse_message(file.read_bytes())
    again = parse_message(message.encode())

    assert faults_of(message) == {}
    assert [message.lines(name) for name in message.names() if name != "Content-Length"] == [
        again.lines(name) for name in again.names() if name != "Content-Length"
    ]
    assert message.body == again.body


@pytest.mark.parametrize(
    "file",
    [file for file in PHONES if b"ength" in file.read_bytes() or b"\r\nl:" in file.read_bytes()],
    ids=lambda file: file.stem,
)
def test_message_of_a_real_phone_passes_a_stream(file: Path) -> None:
    """Those that say their length are cut out whole."""
    wire = file.read_bytes()

    assert [wire, wire] == StreamFramer().feed(wire + wire)
