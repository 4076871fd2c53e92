"""The settings' own rules, and the documents that are generated from them."""

from __future__ import annotations

import sys

import pytest

from config.listen import HostPort, Listener, ListenTransport
from config.loader import known_keys, load
from config.reference import DEFAULT_TOML, PAGE, Entry, entries, render_page, render_toml
from config.settings import QuickcallSettings, Section, Settings, SipSettings, TlsSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        pytest.param("udp:0.0.0.0:5060", Listener(ListenTransport.UDP, "0.0.0.0", 5060), id="udp"),
        pytest.param("tcp:[::]:5060", Listener(ListenTransport.TCP, "::", 5060), id="ipv6"),
        pytest.param("tls:0.0.0.0:5061", Listener(ListenTransport.TLS, "0.0.0.0", 5061), id="tls"),
        pytest.param("wss:[::1]:443", Listener(ListenTransport.WSS, "::1", 443), id="secure-websocket"),
        pytest.param("udp:127.0.0.1:0", Listener(ListenTransport.UDP, "127.0.0.1", 0), id="any-free-port"),
    ],
)
def test_listener_reads_and_writes(text: str, listener: Listener) -> None:
    """A listener is read from its text and written back as the same text."""

    assert listener == Listener.parse(text)
    assert text == str(listener)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("0.0.0.0:5060", "does not begin with udp:, tcp:, tls:, ws: or wss:", id="no-transport"),
        pytest.param("sctp:0.0.0.0:5060", "does not begin with", id="unknown-transport"),
        pytest.param("udp:5060", "is not ADDRESS:PORT", id="no-address"),
        pytest.param("udp:0.0.0.0", "is not ADDRESS:PORT", id="no-port"),
        pytest.param("udp:pbx.example.com:5060", "is not an IP address", id="name"),
        pytest.param("udp:0.0.0.0:65536", "above 65535", id="port-too-high"),
        pytest.param("udp:0.0.0.0:٥٠٦٠", "is not ADDRESS:PORT", id="digits-of-another-script"),
        pytest.param("tcp:::5060", "is not ADDRESS:PORT", id="ipv6-without-brackets"),
        pytest.param("tcp:[127.0.0.1]:5060", "in brackets", id="ipv4-in-brackets"),
        pytest.param("", "does not begin with", id="empty"),
    ],
)
def test_bad_listener_is_refused_with_a_reason(text: str, complaint: str) -> None:
    """What is no listener is refused with a sentence that says why."""
    with pytest.raises(ValueError, match=complaint):
        Listener.parse(text)


def test_host_port_puts_ipv6_in_brackets() -> None:
    """An IPv6 address keeps no brackets inside and gets them back in text."""
    address = HostPort.parse("[::1]:8000")

    assert HostPort("::1", 8000) == address
    assert "[::1]:8000" == str(address)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        pytest.param(SipSettings(min_expires=600, max_expires=60), "sip.min_expires", id="minimum-above-maximum"),
        pytest.param(SipSettings(listen=()), "sip.listen", id="nothing-to-listen-on"),
        pytest.param(SipSettings(listen=(Listener.parse("udp:0.0.0.0:5060"),) * 2), "sip.listen", id="listener-twice"),
        pytest.param(QuickcallSettings(password="p"), "quickcall.username", id="password-without-username"),
        pytest.param(TlsSettings(key="key.pem"), "tls.certificate", id="key-without-certificate"),
    ],
)
def test_conflicting_keys_are_found(section: Section, key: str) -> None:
    """Keys that are right alone and wrong together make one fault, under the key to change."""

    assert [key] == [fault.key for fault in section.conflicts()]


@pytest.mark.parametrize("listener", ["tls:0.0.0.0:5061", "wss:0.0.0.0:443"])
def test_secure_listener_needs_a_certificate(listener: str) -> None:
    """The fault stands under the key to set, and names the listener."""
    sip = SipSettings(listen=(Listener.parse(listener),))
    (fault,) = Settings(sip=sip).conflicts()

    assert "tls.certificate" == fault.key
    assert listener in fault.message
    assert [] == list(Settings(sip=sip, tls=TlsSettings(certificate="c.pem")).conflicts())


def test_any_free_port_may_be_asked_for_twice() -> None:
    """Port 0 names no port, so two of them do not collide."""

    assert [] == list(SipSettings(listen=(Listener.parse("udp:127.0.0.1:0"),) * 2).conflicts())


def test_password_is_not_in_the_repr() -> None:
    """Settings may be logged whole: a secret does not show in their repr."""
    settings = Settings(quickcall=QuickcallSettings(username="roost", password="opensesame"))

    assert "roost" in repr(settings)
    assert "opensesame" not in repr(settings)


def test_default_toml_is_what_the_settings_say() -> None:
    """The shipped file is generated from the settings: `make reference` brings it up to date."""

    assert render_toml() == DEFAULT_TOML.read_text(encoding="utf-8")


def test_default_toml_names_every_key_and_changes_none() -> None:
    """The shipped file read as a configuration equals the defaults, key by key."""
    document = tomllib.loads(DEFAULT_TOML.read_text(encoding="utf-8"))

    assert [(key.section, key.name) for key in known_keys()] == [(s, k) for s, table in document.items() for k in table]
    assert load(None, {}).settings == load(DEFAULT_TOML, {}).settings


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.key.path)
def test_every_key_is_documented(entry: Entry) -> None:
    """Every key has a sentence under it, which ends as one."""

    assert entry.text.endswith(".")


def test_page_tells_every_key() -> None:
    """docs/configure.md is generated; `python -m config.reference` brings it up to date."""
    assert render_page() == PAGE.read_text(encoding="utf-8")
