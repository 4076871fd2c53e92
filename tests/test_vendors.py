"""The vendor table: the shipped rows, how phones are recognised, and how a user's file goes over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sip.message import parse_message
from sip.vendor import Mode, NotifyForm, Quirk
from sip.vendorfile import BadVendorTable
from sip.vendors import VendorTable

PHONES = Path(__file__).parents[2] / "shared" / "corpus" / "phones"
SHIPPED = VendorTable.shipped()
SMALL = """
[vendor.unknown]
resync = "check-sync"
[vendor.unknown.auto_answer]
Call-Info = "<sip:{host}>;answer-after=0"
Answer-Mode = "Auto"
[vendor.acme]
user_agent = "^Acme"
resync = "check-sync"
"""


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Yealink SIP-T27G 69.86.0.15", "yealink"),
        ("yealink SIP-T22P", "yealink"),
        ("Zultys ZIP37G 47.85.0.140", "yealink"),
        ("PolycomVVX-VVX_350-UA/5.9.5.0614", "polycom"),
        ("Polycom/5.4.3.1014", "polycom"),
        ("PolyEdge-Edge_E220-UA/8.0.1", "poly-edge"),
        ("snom105-2.04g", "snom"),
        ("snomD785/10.1.84.12", "snom"),
        ("Snom M900/04.60", "snom-dect"),
        ("Grandstream HT802 1.0.29.8", "grandstream"),
        ("Cisco/SPA504G-7.6.2c", "cisco-spa"),
        ("Linksys/SPA942-6.1.5(a)", "cisco-spa"),
        ("Sipura/SPA2000-3.1.5", "cisco-spa"),
        ("Linksys/SPA8000-5.1.10", "linksys-spa8000"),
        ("Cisco-CP-8841-3PCC/11.0", "cisco-mpp"),
        ("Cisco-CP7960G/8.0", "cisco-79x0"),
        ("CSCO/7", "cisco-79x0"),
        ("Cisco-CP8851/12.1.1", "cisco-enterprise"),
        ("Cisco-CP8865NR/14.2.1", "cisco-enterprise"),
        ("Aastra 51i/2.5.1.41", "mitel"),
        ("Mitel-6920-SIP/6.4.0.140", "mitel"),
        ("Fanvil X303 2.12.18.9 0c383e000001", "fanvil"),
        ("Htek UC924E V3.0.4.5", "htek"),
        ("Sangoma S505 V3.0.4.85", "sangoma-s"),
        ("Sangoma P320 3.0.5", "digium"),
        ("Sangoma Connect/1.2", "sangoma-softphone"),
        ("Digium D65 2_9_3", "digium"),
        ("Panasonic_KX-UT113/01.133 (0080f0000001)", "panasonic"),
        ("C610 IP/42.075.00.000.000", "gigaset"),
        ("N510 IP PRO/42.258", "gigaset"),
        ("Gigaset N870 IP PRO/83.V2;7C2F80000001", "gigaset-n870"),
        ("AVAYA/J179-4.1", "avaya-j100"),
        ("Avaya one-X Deskphone 7.1.15.1.3 b4475e000001", "avaya"),
        ("OBIHAI/OBi202-3.2.2.5921", "obihai"),
        ("Algo-8201/5.2", "algo"),
        ("AVM FRITZ!Box 7430 test", "avm"),
        ("baresip v1.0.0 (x86_64/linux)", "baresip"),
        ("LinphoneiOS/4.5.1 (iPhone) LinphoneSDK/5.0", "linphone"),
        ("MicroSIP/3.21.4", "microsip"),
        ("Zoiper rev.5415", "zoiper"),
        ("Z 3.3.21933", "zoiper"),
        ("friendly-scanner", "scanner"),
        ("", "unknown"),
        ("Acme Phone 1.0", "unknown"),
        ("My Yealink is here", "unknown"),
    ],
)
def test_user_agent_is_recognised(user_agent: str, name: str) -> None:
    """Real strings go to their family; everything else has the row for unknown phones."""
    assert name == SHIPPED.match(user_agent).name


@pytest.mark.skipif(not PHONES.is_dir(), reason="the corpus does not stand beside the checkout")
@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("aastra-", "mitel"), ("cisco-7960g", "cisco-79x0"), ("cisco-8851", "cisco-enterprise"),
        ("cisco-spa", "cisco-spa"), ("fanvil-", "fanvil"), ("fritzbox-", "avm"), ("gigaset-", "gigaset"),
        ("grandstream-", "grandstream"), ("linksys-", "cisco-spa"), ("linphone-iphone", "linphone"),
        ("linphone-3.9", "linphone"), ("microsip-", "microsip"), ("polycom-", "polycom"), ("scanner-", "scanner"),
        ("snom", "snom"), ("yealink-", "yealink"), ("zoiper-", "zoiper"), ("avaya-", "avaya"),
    ],
)  # fmt: skip
def test_phones_of_the_corpus_are_recognised(prefix: str, name: str) -> None:
    """By the User-Agent of their own messages, where those have one."""
    messages = [parse_message(file.read_bytes()) for file in sorted(PHONES.glob(f"{prefix}*.sip"))]
    agents = [agent for message in messages if (agent := message.first("User-Agent"))]

    assert {name} == {SHIPPED.match(agent).name for agent in agents}


def test_every_shipped_row_cites_its_source() -> None:
    """A row nobody can check is worth nothing."""
    assert [] == [vendor.name for vendor in SHIPPED.vendors if not vendor.source or vendor.confidence not in "ABC"]
    assert [] == [vendor.name for vendor in SHIPPED.vendors if not vendor.title]


@pytest.mark.parametrize(
    ("name", "plain", "resync", "reboot"),
    [
        ("unknown", "check-sync", "check-sync", "check-sync;reboot=true"),
        ("yealink", "check-sync;reboot=false", "check-sync;reboot=false", "check-sync;reboot=true"),
        ("cisco-spa", "resync", "resync", "reboot_now"),
        ("cisco-enterprise", "service-control", "service-control", "service-control"),
        ("fanvil", "check-sync;reboot=true", "check-sync", "check-sync;reboot=true"),
        ("gigaset", "check-sync", "check-sync", None),
    ],
)
def test_events_by_mode(name: str, plain: str, resync: str, reboot: str | None) -> None:
    """What each mode sends, and what a plain check-sync means for the vendor."""
    vendor = SHIPPED.named(name)

    assert vendor is not None
    forms = [vendor.form(), vendor.form(Mode.RESYNC), vendor.form(Mode.REBOOT)]
    assert [plain, resync, reboot] == [form and form.event for form in forms]


def test_service_control_names_the_live_call_id() -> None:
    """Anything else is answered with 400 by a Cisco phone."""
    form = SHIPPED.match("Cisco-CP8851/12.1.1").form(Mode.REBOOT)

    assert form is not None
    assert (form.subscription_state, form.content_type) == ("active", "text/plain")
    lines = form.body_for("abc@192.0.2.1").split(b"\r\n")
    assert lines[:2] == [b"action=restart", b"RegisterCallId={abc@192.0.2.1}"]
    assert lines[-1] == b""


@pytest.mark.parametrize(
    ("user_agent", "alert_info", "uri"),
    [
        ("Acme", "<http://192.0.2.1>;info=alert-autoanswer;delay=0", ""),
        ("Yealink SIP-T27G 69.86.0.15", "<http://192.0.2.1>;info=alert-autoanswer;delay=0", "intercom=true"),
        ("PolycomVVX-VVX_350-UA/5.9.5.0614", "Auto Answer", ""),
        ("Digium D65 2_9_3", "ring-answer", ""),
        ("Panasonic_KX-UT113/01.133", "Intercom", ""),
        ("Sangoma Talk", "Direct-Intercom", ""),
    ],
)
def test_auto_answer_headers(user_agent: str, alert_info: str, uri: str) -> None:
    """The set for unknown phones, with the vendor's own headers over it."""
    vendor = SHIPPED.match(user_agent)
    headers = dict(vendor.auto_answer_headers("192.0.2.1"))

    assert headers == {
        "Call-Info": "<sip:192.0.2.1>;answer-after=0",
        "Alert-Info": alert_info,
        "Answer-Mode": "Auto",
        "P-Auto-Answer": "normal",
    }
    assert uri == vendor.auto_answer_uri


def test_quirks_of_shipped_rows() -> None:
    """What the registrar and the delivery report ask for."""
    assert Quirk.NO_OPTIONS in SHIPPED.match("Linksys/SPA8000-5.1.10").quirks
    assert Quirk.ANY_CHECK_SYNC_REBOOTS in SHIPPED.match("Fanvil X303 2.12").quirks
    assert Quirk.SCANNER in SHIPPED.match("sipvicious").quirks
    assert SHIPPED.match("Grandstream GXP2170 1.0.9.135").challenges


def test_a_long_user_agent_is_cut_before_it_is_kept() -> None:
    """The memo cannot be used to fill memory."""
    assert SHIPPED.match("Yealink " + "x" * 60_000) is SHIPPED.match("Yealink " + "x" * 50_000)


def test_new_rows_of_a_user_come_before_the_shipped_ones() -> None:
    """A user's pattern may be a part of a shipped one."""
    table = SHIPPED.overridden_by(
        '[vendor.lobby]\nuser_agent = "^Yealink SIP-T27G"\nresync = "check-sync"\n'
        'auto_answer = { alert-info = "Lobby", P-Auto-Answer = "" }'
    )
    lobby = table.match("Yealink SIP-T27G 69.86.0.15")

    assert lobby.name == "lobby"
    assert lobby.reboot is None
    headers = dict(lobby.auto_answer_headers("h"))
    assert headers["Alert-Info"] == "Lobby"
    assert "P-Auto-Answer" not in headers
    assert table.match("Yealink SIP-T46U 108.86.0.40").name == "yealink"
    assert SHIPPED.match("Yealink SIP-T27G 69.86.0.15").name == "yealink"


def test_keys_of_a_user_go_over_those_of_a_shipped_row() -> None:
    """The rest of the row stays as it was."""
    table = SHIPPED.overridden_by(
        '[vendor.yealink]\ncheck_sync = "reboot"\n'
        'reboot = { event = "check-sync;reboot=true", headers = { X-A = "b" } }'
    )
    yealink = table.match("Yealink SIP-T46U 108.86.0.40")

    assert yealink.form() == NotifyForm("check-sync;reboot=true", headers=(("X-A", "b"),))
    assert yealink.auto_answer_uri == "intercom=true"
    assert yealink.form(Mode.RESYNC) == NotifyForm("check-sync;reboot=false")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        pytest.param("x = = 1", ["vendor"], id="not-toml"),
        pytest.param("vendors = 1", ["vendors"], id="unknown-table"),
        pytest.param("vendor = 1", ["vendor"], id="vendor-is-no-table"),
        pytest.param("[vendor]\nacme = 1", ["vendor.acme"], id="row-is-no-table"),
        pytest.param("[vendor.new]", ["vendor.new.user_agent", "vendor.new.resync"], id="empty-row"),
        pytest.param('[vendor.acme]\nuser_agent = "("', ["vendor.acme.user_agent"], id="bad-pattern"),
        pytest.param("[vendor.acme]\nuseragent = 1", ["vendor.acme.useragent"], id="unknown-key"),
        pytest.param("[vendor.acme]\ntitle = 1", ["vendor.acme.title"], id="title-is-no-text"),
        pytest.param("[vendor.acme]\nchallenges = 1", ["vendor.acme.challenges"], id="flag-is-no-boolean"),
        pytest.param('[vendor.acme]\nquirks = ["x"]', ["vendor.acme.quirks"], id="unknown-quirk"),
        pytest.param('[vendor.acme]\ncheck_sync = "both"', ["vendor.acme.check_sync"], id="unknown-mode"),
        pytest.param('[vendor.acme]\ncheck_sync = "reboot"', ["vendor.acme.reboot"], id="mode-without-form"),
        pytest.param("[vendor.acme]\nresync = 1", ["vendor.acme.resync"], id="form-is-a-number"),
        pytest.param('[vendor.acme]\nresync = "a b"', ["vendor.acme.resync.event"], id="bad-event"),
        pytest.param(
            '[vendor.acme]\nresync = { event = "x", body = "{call-id} {callid}", content = 1 }',
            ["vendor.acme.resync.content", "vendor.acme.resync.content_type", "vendor.acme.resync.body"],
            id="bad-form",
        ),
        pytest.param(
            '[vendor.acme]\nresync = { event = "x", subscription_state = "over" }',
            ["vendor.acme.resync.subscription_state"],
            id="bad-subscription-state",
        ),
        pytest.param(
            '[vendor.acme.auto_answer]\n"A b" = "x"\nB = "a\\nb"\nC = "{port}"\nD = 1',
            [f"vendor.acme.auto_answer.{name}" for name in ("A b", "B", "C", "D")],
            id="bad-headers",
        ),
        pytest.param('[vendor.acme]\nauto_answer_uri = "a;b"', ["vendor.acme.auto_answer_uri"], id="bad-parameter"),
        pytest.param('[vendor.acme]\nconfidence = "D"', ["vendor.acme.confidence"], id="bad-confidence"),
        pytest.param(
            '[vendor.acme]\ntitle = 1\n[vendor.unknown]\nresync = "a b"',
            ["vendor.unknown.resync.event", "vendor.acme.title"],
            id="faults-of-all-rows",
        ),
    ],
)
def test_every_fault_of_a_file_is_named(text: str, keys: list[str]) -> None:
    """With the path of its key, all at once."""
    with pytest.raises(BadVendorTable) as refused:
        VendorTable.parse(SMALL).overridden_by(text)

    assert keys == [fault.key for fault in refused.value.faults]


def test_a_table_without_the_row_for_unknown_phones_is_refused() -> None:
    """A User-Agent always has a row."""
    with pytest.raises(BadVendorTable, match=r"vendor\.unknown: is missing"):
        VendorTable.parse('[vendor.acme]\nuser_agent = "^Acme"\nresync = "check-sync"')


def test_table_takes_the_rows_of_another() -> None:
    """Who holds the table sees them, also for a User-Agent that it was asked for before."""
    table = VendorTable.shipped()
    before = table.match("Pest 1.0").name
    table.become(table.overridden_by('[vendor.pest]\nuser_agent = "^Pest"\nresync = "check-sync"\n'))

    assert ("unknown", "pest") == (before, table.match("Pest 1.0").name)
    assert "yealink" == table.match("Yealink SIP-T54W 96.86.0.100").name
