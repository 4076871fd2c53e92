"""An owner for every stored binding."""

from __future__ import annotations

from typing import NamedTuple

from sip.aor import Aor


class Owner(NamedTuple):
    """Implements `daemon.store.bindings.Owner`."""

    aor: Aor
    account_id: str
    device_id: str


def anyone(aor: str, device_id: str) -> Owner:
    """Return an owner in the account that the tests use."""
    return Owner(Aor(aor), "a1", device_id)
