"""An owner for every stored binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sip.aor import Aor

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.store import StoredBindings
    from sip.location import Binding


class Owner(NamedTuple):
    """Implements `daemon.store.bindings.Owner`."""

    aor: Aor
    account_id: str
    device_id: str


def anyone(aor: str, device_id: str) -> Owner:
    """Return an owner in the account that the tests use."""
    return Owner(Aor(aor), "a1", device_id)


async def load(bindings: StoredBindings, owner_of: Callable[[str, str], Owner | None] = anyone) -> list[Binding]:
    """Return all the stored bindings that `owner_of` has an owner for."""
    found: list[Binding] = []
    await bindings.load(owner_of, found.extend)
    return found
