"""The operator's own rows of the vendor table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.loader import ConfigError
from daemon.vendorfile import MAX_FILE, load_vendors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vendors.toml"


def test_without_a_file_it_is_the_shipped_table() -> None:
    assert load_vendors("").match("snomD785/10.1").name == "snom"


def test_a_row_is_changed_and_one_is_added(file: Path) -> None:
    """What a row of the file does not say stays as it was."""
    file.write_text(
        '[vendor.yealink]\ncheck_sync = "reboot"\n[vendor.ours]\nuser_agent = "^snomOurs"\nresync = "our-sync"\n'
    )
    table = load_vendors(str(file))
    yealink, ours = table.match("Yealink SIP-T46U").form(), table.match("snomOurs/1").form()

    assert yealink is not None
    assert ours is not None
    assert (yealink.event, ours.event) == ("check-sync;reboot=true", "our-sync")


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        pytest.param(None, ["vendors.file"], id="missing"),
        pytest.param(b"\xff", ["vendors.file"], id="no-text"),
        pytest.param(b"#" * (MAX_FILE + 1), ["vendors.file"], id="too-long"),
        pytest.param(b"=", ["vendors.file: vendor"], id="no-toml"),
        pytest.param(
            b'[vendor.ours]\nresync = "a b"\nuser_agent = "("\n',
            ["vendors.file: vendor.ours.resync.event", "vendors.file: vendor.ours.user_agent"],
            id="every-fault-of-a-row",
        ),
    ],
)
def test_faults(file: Path, content: bytes | None, faults: list[str]) -> None:
    """All are told together, before anything starts."""
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_vendors(str(file))

    assert sorted(fault.key for fault in caught.value.faults) == faults
