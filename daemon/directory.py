"""Who the devices are, in memory: what SIP has to know of the documents while it handles a request.

Rule: only committed documents get in here, by `changed`, so that SIP believes what the API answered.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from api.ports import Kind
from daemon.store.records import json_at
from sip.aor import Aor, aor_of
from sip.digest import Algorithm, Credentials
from sip.nonce import NonceCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.ports import Document, Json
    from daemon.store import StoredDocuments


FACTS: Final = (
    *("sip.username", "sip.password", "sip.realm", "sip.method", "sip.ip", "sip.digest"),
    *("owner_id", "presence_id", "enabled", "suppress_unregister_notifications", "register_overwrite_notify"),
)
"""Where a device's document tells what SIP has to know of it."""


class Standing(Enum):
    """Whether a device may register; from outside all but GOOD look like a wrong password."""

    GOOD = "good"
    DEVICE_DISABLED = "device-disabled"
    OWNER_DISABLED = "owner-disabled"
    ACCOUNT_DISABLED = "account-disabled"


@dataclass(slots=True, eq=False)
class Device:
    """What SIP has to know of one device."""

    account_id: str
    device_id: str
    owner_id: str
    """Empty where nobody owns it."""
    username: str
    realm: str
    """The device's own, or its account's."""
    aor: Aor
    presence_id: str
    enabled: bool
    ip: str
    """Where its requests come from without digest (`sip.method: ip`); empty where it has a password."""
    algorithm: Algorithm | None
    """The digest it asks for (`sip.digest`), None for the usual one."""
    password: str = field(repr=False)
    quiet: bool = False
    """Whether nobody is told that its registration ended (`suppress_unregister_notifications`)."""
    tells_overwrite: bool = False
    """Whether its contacts are told of a new one (`register_overwrite_notify`)."""
    nonce_counts: NonceCounts | None = field(default=None, repr=False)
    _ha1: bytes = field(default=b"", repr=False)
    _ha1_user: str = ""
    """As the phone spells it; the HA1 is for this and the algorithm."""
    _ha1_algorithm: Algorithm | None = None

    def ha1(self, username: str, algorithm: Algorithm) -> str | None:
        """Return the HA1 for the username as the phone spells it; None where the device has no password."""
        if not self.password:
            return None
        if username != self._ha1_user or algorithm is not self._ha1_algorithm:
            self._ha1 = bytes.fromhex(Credentials(username, self.password).ha1(self.realm, algorithm))
            self._ha1_user = self.username if username == self.username else username  # the same text, kept once
            self._ha1_algorithm = algorithm
        return self._ha1.hex()

    def counts(self) -> NonceCounts:
        """Return the nonce counts of the device."""
        if self.nonce_counts is None:
            self.nonce_counts = NonceCounts()
        return self.nonce_counts


class Directory:
    """All devices with SIP credentials, by AOR and by id, and the realms they live in."""

    def __init__(self) -> None:
        self._by_aor: dict[str, Device] = {}
        self._by_id: dict[str, dict[str, Device]] = {}
        self._by_presence: dict[Aor, Device] = {}
        self._by_ip: dict[str, Device] = {}
        self._account_realms: dict[str, str] = {}
        self._realms: dict[tuple[str, str], int] = {}
        self._served: Counter[str] = Counter()
        self._master = ""
        self._disabled: set[tuple[Kind, str, str]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._by_id.values()))

    def find(self, aor: str) -> Device | None:
        """Return the device whose AOR this is, in its canonical form."""
        return self._by_aor.get(aor)

    def device(self, account_id: str, device_id: str) -> Device | None:
        """Return a device by its id."""
        return self._by_id.get(account_id, {}).get(device_id)

    def at_ip(self, host: str) -> Device | None:
        """Return the device whose requests come from this address without digest."""
        return self._by_ip.get(host)

    def ip_devices(self) -> Sequence[Device]:
        """Return the devices that are known by their address."""
        return list(self._by_ip.values())

    def find_number(self, account_id: str, number: str) -> Device | None:
        """Return the account's device that a number means: a SIP username, or else a presence id."""
        realm = self._account_realms.get(account_id, "")
        aor = aor_of(number, realm)
        found = self._by_aor.get(aor) or self._by_presence.get(aor)
        return found if found is not None and found.account_id == account_id else None

    def realm_of(self, account_id: str) -> str:
        """Return the realm of an account; empty for an unknown one."""
        return self._account_realms.get(account_id, "")

    def serves(self, domain: str) -> bool:
        """Return whether some account or device has this realm; `domain` is in lower case."""
        return domain in self._served

    def aors(self, account_id: str, username: str) -> list[Aor]:
        """Return the AORs that a username may have in the realms of an account and its devices."""
        return [aor_of(username, realm) for owner, realm in self._realms if owner == account_id]

    @property
    def master_realm(self) -> str:
        """The realm of the master account; empty while there is none."""
        return self._account_realms.get(self._master, "")

    def standing(self, device: Device) -> Standing:
        """Return whether the device may register (contract 5.12, last line)."""
        if device.enabled and not self._disabled:
            return Standing.GOOD
        if (Kind.ACCOUNT, device.account_id, device.account_id) in self._disabled:
            return Standing.ACCOUNT_DISABLED
        if not device.enabled:
            return Standing.DEVICE_DISABLED
        if device.owner_id and (Kind.USER, device.account_id, device.owner_id) in self._disabled:
            return Standing.OWNER_DISABLED
        return Standing.GOOD

    async def load(self, documents: StoredDocuments) -> None:
        """Learn of all the devices that are stored; the realms of their accounts must be known."""
        await documents.facts(Kind.DEVICE, FACTS, self._learn)

    def changed(self, old: Document | None, new: Document | None) -> None:
        """Take in a committed change of a document (`daemon.provisioning.DocumentListener`)."""
        document = new or old
        if document is None:
            return
        if document.kind is Kind.DEVICE:
            self._forget(document.account_id, document.id)
            if new is not None:
                self._learn(new.account_id, new.id, [json_at(new.data, *path.split(".")) for path in FACTS])
            return
        switch = (document.kind, document.account_id, document.id)
        self._disabled.discard(switch)
        if new is not None and new.data.get("enabled") is False:
            self._disabled.add(switch)
        if document.kind is Kind.ACCOUNT:
            self._account_changed(document.id, new)

    def _account_changed(self, account_id: str, new: Document | None) -> None:
        before = self._account_realms.pop(account_id, "")
        self._count_realm(account_id, before, -1)
        realm = _text(new.data.get("realm")).lower() if new is not None else ""
        if new is not None and realm:
            self._account_realms[account_id] = realm
            self._count_realm(account_id, realm, 1)
            if new.private.get("pvt_superduper_admin") is True and not self._master:
                self._master = account_id
        if before and before != realm:
            self._move_devices(account_id, before, realm)

    def _move_devices(self, account_id: str, before: str, realm: str) -> None:
        for device in [each for each in self._by_id.get(account_id, {}).values() if each.realm == before]:
            self._forget(account_id, device.device_id)
            if realm:
                aor = aor_of(device.username, realm)
                self._put(replace(device, realm=realm, aor=aor, nonce_counts=None, _ha1_user=""))

    def _learn(self, account_id: str, device_id: str, facts: Sequence[Json]) -> None:
        (username, password, realm, method, ip, digest,
         owner_id, presence_id, enabled, quiet, tells_overwrite) = facts  # fmt: skip
        ip = _text(ip) if method == "ip" else ""
        username = _text(username) or ip
        realm = (sys.intern(_text(realm).lower()) if realm else "") or self.realm_of(account_id)
        if not username or not realm:
            return
        self._put(
            Device(
                sys.intern(account_id),
                device_id,
                _text(owner_id) if owner_id else "",
                username,
                realm,
                aor_of(username, realm),
                _text(presence_id) if presence_id else "",
                enabled is not False,
                ip,
                Algorithm.named(_text(digest)) if digest else None,
                _text(password),
                quiet is True,
                tells_overwrite is True,
            )
        )

    def _put(self, device: Device) -> None:
        self._by_id.setdefault(device.account_id, {})[device.device_id] = device
        self._by_aor[device.aor] = device
        self._count_realm(device.account_id, device.realm, 1)
        if device.presence_id:
            self._by_presence[_presence(device)] = device
        if device.ip:
            self._by_ip[device.ip] = device

    def _count_realm(self, account_id: str, realm: str, step: int) -> None:
        if not realm:
            return
        key = account_id, realm
        before = self._realms.get(key, 0)
        self._realms[key] = before + step
        if before and before + step:
            return  # the account has had this realm, and keeps it
        self._served[realm] += step
        if not self._realms[key]:
            del self._realms[key]
        if not self._served[realm]:
            del self._served[realm]

    def _forget(self, account_id: str, device_id: str) -> None:
        device = self._by_id.get(account_id, {}).pop(device_id, None)
        if device is None:
            return
        self._count_realm(account_id, device.realm, -1)
        if self._by_aor.get(device.aor) is device:
            del self._by_aor[device.aor]
        if device.presence_id and self._by_presence.get(_presence(device)) is device:
            del self._by_presence[_presence(device)]
        if device.ip and self._by_ip.get(device.ip) is device:
            del self._by_ip[device.ip]


def _presence(device: Device) -> Aor:
    user, _, domain = device.presence_id.partition("@")
    return aor_of(user, domain or device.realm)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
