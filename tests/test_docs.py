"""The documentation: nothing in it leads nowhere, and nothing of it is hidden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sip.vendors import VendorTable

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_lead_to_files_that_exist(page: Path) -> None:
    """A file that is renamed takes its links with it."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))

    assert [] == [target for target in targets if not (page.parent / target).exists()]


def test_index_names_every_page() -> None:
    """docs/README.md is where a reader begins."""
    named = {Path(target).name for target in LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))}

    assert {each.name for each in DOCS.iterdir()} - {"README.md"} <= named


ROW = re.compile(r"^\| (.+?) \| `([^`]+)`.*? \| (?:`([^`]+)`)?.*? \| (yes|no) \|", re.MULTILINE)
FAMILIES = {
    "Yealink": "yealink",
    "Poly UCS": "polycom",
    "Poly Edge E, Rove": "poly-edge",
    "Snom": "snom",
    "Grandstream": "grandstream",
    "Cisco SPA": "cisco-spa",
    "Fanvil": "fanvil",
    "baresip": "baresip",
    "Linphone": "linphone",
}


def test_phones_are_told_what_the_page_says() -> None:
    """docs/phones.md names for each phone the Events of sip/vendors.toml, and whether it wants digest."""
    vendors = {vendor.name: vendor for vendor in VendorTable.shipped().vendors}
    rows = {row[1]: row for row in ROW.finditer((DOCS / "phones.md").read_text(encoding="utf-8"))}

    assert FAMILIES.keys() == rows.keys()
    for name, family in FAMILIES.items():
        vendor, row = vendors[family], rows[name]
        reboot = vendor.reboot.event if vendor.reboot and row[3] else None

        assert vendor.resync is not None
        assert (vendor.resync.event, reboot, vendor.challenges) == (row[2], row[3], row[4] == "yes"), name
