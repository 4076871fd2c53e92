"""The way from file and environment to settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import loader
from config.listen import HostPort, Listener
from config.loader import ConfigError, load
from config.settings import Settings, StoreSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "roost.toml"


def faults_of(path: Path | None, environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    return {fault.key: fault.message for fault in caught.value.faults}


def test_nothing_configured_gives_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a file and without variables, the settings are the defaults with the database's place filled in."""
    monkeypatch.setattr(loader, "DEFAULT_FILE", tmp_path / "absent.toml")
    loaded = load(None, {"HOME": "/root"})

    assert Settings(store=StoreSettings(path="var/roost.db")) == loaded.settings
    assert (None, ()) == (loaded.file, loaded.overrides)


def test_file_of_the_host_is_read_when_none_is_named(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """The file in /etc is used if it is there."""
    file.write_text("[sip]\nmax_contacts = 3\n")
    monkeypatch.setattr(loader, "DEFAULT_FILE", file)

    assert 3 == load(None, {}).settings.sip.max_contacts


def test_named_file_goes_before_the_variable(file: Path, tmp_path: Path) -> None:
    """--config goes before $ROOST_CONFIG, which goes before nothing."""
    file.write_text("[sip]\nmax_contacts = 3\n")
    other = tmp_path / "other.toml"
    other.write_text("[sip]\nmax_contacts = 4\n")
    environ = {"ROOST_CONFIG": str(other)}

    assert 3 == load(file, environ).settings.sip.max_contacts
    assert 4 == load(None, environ).settings.sip.max_contacts


def test_environment_goes_before_the_file(file: Path) -> None:
    """A variable overrides its key, whatever the key's type, and is named among the overrides."""
    file.write_text('[api]\nlisten = "127.0.0.1:1"\ntoken_ttl = 60\n')
    environ = {"ROOST_API_LISTEN": "[::1]:2", "ROOST_SIP_LISTEN": "udp:127.0.0.1:3, tcp:127.0.0.1:3"}
    loaded = load(file, environ)

    assert HostPort("::1", 2) == loaded.settings.api.listen
    assert (Listener.parse("udp:127.0.0.1:3"), Listener.parse("tcp:127.0.0.1:3")) == loaded.settings.sip.listen
    assert 60 == loaded.settings.api.token_ttl
    assert ("ROOST_API_LISTEN", "ROOST_SIP_LISTEN") == loaded.overrides


def test_every_fault_is_reported_at_once(file: Path) -> None:
    """One reading names every wrong key of the file and of the environment."""
    file.write_text(
        'colour = 1\nstore = 5\n[spi]\n[sip]\nlisten = ["udp:0.0.0.0"]\nmin_expires = "60"\nmax_contact = 2\n'
        '[log]\nlevel = "loud"\n'
    )
    faults = faults_of(file, {"ROOST_API_TOKEN_TTL": "0", "ROOST_SIP_MAX_EXPIRES": "soon", "ROOST_LOG_LEVLE": "info"})

    assert {
        "colour", "store", "spi", "sip.listen", "sip.min_expires", "sip.max_contact", "log.level",
        "ROOST_API_TOKEN_TTL", "ROOST_SIP_MAX_EXPIRES", "ROOST_LOG_LEVLE",
    } == set(faults)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        pytest.param("[spi]", "spi", "did you mean sip?", id="section"),
        pytest.param("[api]\ntoken_tll = 1", "api.token_tll", "did you mean token_ttl?", id="key"),
        pytest.param("[xyzzy]", "xyzzy", "there are sip, tls, api, store, ", id="nothing-close"),
    ],
)
def test_unknown_name_gets_a_suggestion(file: Path, text: str, key: str, hint: str) -> None:
    """A misspelt section or key is told what it may have meant."""
    file.write_text(text)

    assert hint in faults_of(file, {})[key]


def test_misspelt_variable_gets_a_suggestion() -> None:
    """A variable of a known section that overrides nothing is a fault, for it would be ignored in silence."""

    assert "did you mean ROOST_SIP_LISTEN?" in faults_of(None, {"ROOST_SIP_LISTN": "x"})["ROOST_SIP_LISTN"]


def test_variables_of_others_are_left_alone() -> None:
    """A variable that names no section of ours is not ours to judge."""

    assert () == load(None, {"ROOST_BUILD": "7"}).overrides


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"[sip\n", "is not TOML", id="syntax"),
        pytest.param(b'[log]\nlevel = "\xff"', "is not UTF-8", id="encoding"),
        pytest.param(b"# " + b"x" * loader.MAX_FILE, "is larger than", id="size"),
        pytest.param(None, "cannot be read: No such file", id="missing"),
    ],
)
def test_unusable_file_is_one_fault(file: Path, content: bytes | None, complaint: str) -> None:
    """A named file that cannot be read or understood is a fault under its path."""
    if content is not None:
        file.write_bytes(content)

    assert complaint in faults_of(file, {})[str(file)]


def test_defaults_do_not_conflict_with_what_was_refused(file: Path) -> None:
    """A wrong key makes one fault, not a second one from the default that stands in for it."""
    file.write_text("[sip]\nmin_expires = 'x'\nmax_expires = 30\n")

    assert ["sip.min_expires"] == list(faults_of(file, {}))


def test_secret_is_not_shown_by_its_fault() -> None:
    """A password that is refused does not appear in the message."""
    faults = faults_of(None, {"ROOST_QUICKCALL_PASSWORD": "open\x07sesame", "ROOST_QUICKCALL_USERNAME": "x"})

    assert ["ROOST_QUICKCALL_PASSWORD"] == list(faults)
    assert "sesame" not in faults["ROOST_QUICKCALL_PASSWORD"]


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        pytest.param({"STATE_DIRECTORY": "/var/lib/roost"}, "/var/lib/roost/roost.db", id="systemd"),
        pytest.param(
            {"STATE_DIRECTORY": "/var/lib/roost:/var/lib/more"}, "/var/lib/roost/roost.db", id="first-of-several"
        ),
        pytest.param({"ROOST_STORE_PATH": "/srv/r.db", "STATE_DIRECTORY": "/x"}, "/srv/r.db", id="said"),
        pytest.param({}, "var/roost.db", id="nothing-said"),
    ],
)
def test_database_has_a_place(environ: dict[str, str], path: str) -> None:
    """An empty store.path is filled in from $STATE_DIRECTORY, or else below the working directory."""

    assert path == load(None, environ).settings.store.path


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """Where systemd puts the credentials of the service."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


def test_secret_comes_as_a_credential(credentials: Path, file: Path) -> None:
    """A credential goes before the file, is named by its path, and loses the line break that editors add."""
    file.write_text('[quickcall]\nusername = "roost"\npassword = "old"\n')
    (credentials / "quickcall.password").write_text("open sesame\n")
    loaded = load(file, {"CREDENTIALS_DIRECTORY": str(credentials)})

    assert "open sesame" == loaded.settings.quickcall.password
    assert (str(credentials / "quickcall.password"),) == loaded.overrides


def test_environment_goes_before_a_credential(credentials: Path, file: Path) -> None:
    """What is said nearest to the process holds."""
    file.write_text('[quickcall]\nusername = "roost"\n')
    (credentials / "quickcall.password").write_text("one")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "ROOST_QUICKCALL_PASSWORD": "two"}

    assert "two" == load(file, environ).settings.quickcall.password


def test_pem_file_is_used_where_the_credential_stands(credentials: Path, file: Path) -> None:
    """A certificate or key is not read into the settings: its credential is the file."""
    file.write_text("")
    for name in ("tls.certificate", "tls.key", "tls.ca_file"):
        (credentials / name).write_text("PEM")
    tls = load(file, {"CREDENTIALS_DIRECTORY": str(credentials)}).settings.tls

    assert [str(credentials / f"tls.{name}") for name in ("certificate", "key", "ca_file")] == [
        tls.certificate,
        tls.key,
        tls.ca_file,
    ]


def test_other_credentials_are_left_alone(credentials: Path, file: Path) -> None:
    """A key that is neither secret nor a PEM file takes nothing from there."""
    file.write_text("")
    (credentials / "log.level").write_text("debug")
    (credentials / "unknown").write_text("x")

    assert () == load(file, {"CREDENTIALS_DIRECTORY": str(credentials)}).overrides


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"x" * (loader.MAX_SECRET + 1), "is larger than", id="size"),
        pytest.param(b"ses\xffame", "is not UTF-8 at byte 3", id="encoding"),
        pytest.param(b"ses\x07ame", "", id="control-character"),
    ],
)
def test_unusable_credential_is_a_fault_that_does_not_show_it(
    credentials: Path, file: Path, content: bytes, complaint: str
) -> None:
    """A credential that cannot be a password is told by its path, without what is in it."""
    file.write_text('[quickcall]\nusername = "roost"\n')
    secret = credentials / "quickcall.password"
    secret.write_bytes(content)
    faults = faults_of(file, {"CREDENTIALS_DIRECTORY": str(credentials)})

    assert [str(secret)] == list(faults)
    assert complaint in faults[str(secret)]
    assert "ame" not in faults[str(secret)]
