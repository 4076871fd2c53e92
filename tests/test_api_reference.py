"""docs/api.md: generated, complete and up to date."""

from __future__ import annotations

from api.app import ROUTES
from api.reference import PAGE, render


def test_page_is_what_the_routes_say() -> None:
    """`python -m api.reference` brings it up to date."""
    assert render() == PAGE.read_text(encoding="utf-8")


def test_page_tells_every_route() -> None:
    """Nothing that a client may ask for is left out."""
    headings = [line for line in render().splitlines() if line.startswith("### ")]
    missing = [f"### {route.method} /v2{route.path}" for route in ROUTES]

    assert set(missing) <= set(headings)
