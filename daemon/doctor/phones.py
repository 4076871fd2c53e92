"""What a phone must be set to, so that it finds this Roost."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from daemon.doctor.network import phone_addresses
from sip.io.host import is_local

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from config.settings import Settings

LOOKUP_LIMIT: Final = 3.0  # seconds for all names


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """The settings for the phones of one account; user name and password are the device's."""

    domain: str
    """Also called realm, or SIP server."""
    proxy: str
    """What is to stand for the outbound proxy: empty where the domain leads here by itself."""
    transports: tuple[str, ...]
    """Each with its port, such as `udp 5060`."""


def phone_settings(
    settings: Settings, realms: Sequence[str], resolve: Callable[[str], Sequence[str]] | None = None
) -> list[PhoneSettings]:
    """Return the settings for the phones of each realm; `resolve` gives a name's addresses."""
    addresses = phone_addresses(settings)
    transports = tuple(f"{each.transport.value} {each.port}" for each in settings.sip.listen if each.port)
    found = _resolve_all(realms, resolve or _resolve)
    return [
        PhoneSettings(realm, "" if any(map(is_local, found[realm])) else addresses[0], transports) for realm in realms
    ]


def _resolve_all(realms: Sequence[str], resolve: Callable[[str], Sequence[str]]) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = dict.fromkeys(realms, ())
    pool = ThreadPoolExecutor(max_workers=len(realms) or 1)
    asked = {realm: pool.submit(resolve, realm) for realm in realms}
    for realm, answer in asked.items():
        try:
            found[realm] = answer.result(LOOKUP_LIMIT)
        except (FutureTimeout, OSError, UnicodeError):
            continue
    pool.shutdown(wait=False, cancel_futures=True)
    return found


def _resolve(name: str) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)]
