"""The documentation: nothing in it leads nowhere, and nothing of it is hidden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
