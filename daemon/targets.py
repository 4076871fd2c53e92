"""Where the INVITEs to a device go, and what they say (contract 6.3-6.6)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from api.device_rules import to_e164
from api.documents import at
from api.ports import Kind
from api.quickcall_devices import Target as Endpoint
from api.quickcall_devices import owners_of
from daemon.invitation import Target
from sip.digest import Credentials
from sip.errors import ParseError
from sip.headers import NameAddr
from sip.invite import Invitee, add_flag, merge_headers, number_in_format, with_user
from sip.uri import SipUri, escape_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from api.ports import Document, Documents, Json
    from daemon.directory import Device, Directory
    from daemon.leg import SipUser
    from sip.flow import Flow
    from sip.invite import Headers
    from sip.location import Binding
    from sip.vendors import VendorTable

CALLER_NAME: Final = "Device QuickCall"


class Bindings(Protocol):
    """The live registrations."""

    def bindings(self, account_id: str, device_id: str) -> Sequence[Binding]:
        """Return the live bindings of a device, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What an INVITE to a device is to be."""

    call_id: str
    local: NameAddr
    """From, with our tag."""
    number: str
    """What was dialled, for formats that put a number into the Request-URI."""
    headers: Headers = ()
    """Of whoever calls."""
    auto_answer: bool = False
    keys: bool = False
    """Whether a key that is pressed will be heard."""
    beside: str = ""
    """The Call-ID of the leg that a call is forwarded by while the phone rings too; empty for any."""


class Targets:
    """Finds those of devices. Nothing here is remembered between calls."""

    def __init__(
        self, sip: SipUser, bindings: Bindings, directory: Directory, vendors: VendorTable, documents: Documents
    ) -> None:
        self._sip = sip
        self._bindings = bindings
        self._directory = directory
        self._vendors = vendors
        self._documents = documents

    def known_device(self, account_id: str, device_id: str) -> Device | None:
        """Return what SIP knows of a device."""
        return self._directory.device(account_id, device_id)

    async def endpoint(self, device: Document) -> Endpoint | None:
        """Return the device with its account and its one owner; None where the account is gone."""
        account = await self._documents.get(Kind.ACCOUNT, device.account_id, device.account_id)
        owners = owners_of(device)
        owner = await self._documents.get(Kind.USER, device.account_id, owners[0]) if len(owners) == 1 else None
        return None if account is None else Endpoint(account, device, owner)

    async def of_device(self, endpoint: Endpoint, wish: Wish) -> list[Target]:
        """Return where a device is to be rung: every contact of it, or its fixed address; nothing if there is none.

        Raises TransportFailed or ParseError where its fixed address leads nowhere.
        """
        sip = _sip(endpoint.device)
        if _text(sip.get("invite_format")) == "route" and _text(sip.get("route")):
            return [await self._fixed(endpoint, wish, _uri(_text(sip["route"])), as_it_is=True)]
        if _text(sip.get("ip")):
            return [await self._fixed(endpoint, wish, _uri(_text(sip["ip"])), as_it_is=False)]
        found = self._bindings.bindings(endpoint.device.account_id, endpoint.device.id)
        return [target for binding in found if (target := self._registered(endpoint, wish, binding)) is not None]

    async def _fixed(self, endpoint: Endpoint, wish: Wish, base: SipUri, *, as_it_is: bool) -> Target:
        sip = _sip(endpoint.device)
        transport, proxy = _text(sip.get("transport")).lower(), _text(sip.get("proxy"))
        uri = base if as_it_is else _formatted(base, sip, wish.number)
        if transport:
            uri = uri.with_params(("transport", transport))
        ways = await self._sip.ways_to(_uri(proxy) if proxy else uri)
        await ways.next()
        routes = (f"<{_uri(proxy)};lr>",) if proxy else ()
        target = self._target(endpoint, wish, uri, routes, lambda: ways.flow, user_agent="")
        return replace(target, ways=ways)

    def _registered(self, endpoint: Endpoint, wish: Wish, binding: Binding) -> Target | None:
        try:
            contact = SipUri.parse(binding.contact)
        except ParseError:
            return None
        uri = _formatted(contact, _sip(endpoint.device), wish.number)
        return self._target(endpoint, wish, uri, binding.path, self._follow(binding), user_agent=binding.user_agent)

    def _target(
        self,
        endpoint: Endpoint,
        wish: Wish,
        uri: SipUri,
        routes: tuple[str, ...],
        find_flow: Callable[[], Flow],
        *,
        user_agent: str,
    ) -> Target:
        device = endpoint.device
        realm = self._directory.realm_of(device.account_id)
        username = _text(_sip(device).get("username"))
        headers = merge_headers(wish.headers, _ringtone(endpoint), _incoming(device), _aor(username, realm))
        if wish.auto_answer:
            vendor = self._vendors.match(user_agent)
            uri = add_flag(uri, vendor.auto_answer_uri)
            headers = merge_headers(vendor.auto_answer_headers(realm), headers)
        remote = NameAddr("", f"sip:{escape_user(username)}@{realm}" if username else str(uri))
        password = _text(_sip(device).get("password"))
        return Target(
            Invitee(str(uri), wish.call_id, wish.local, remote, routes, headers),
            find_flow,
            device_id=device.id,
            credentials=Credentials(username, password) if username and password else None,
            talk=wish.auto_answer,
            codecs=tuple(codecs((device,))),
            enforces_security=at(device.data, "media", "encryption", "enforce_security") is True,
            counts_missed=_sip(device).get("ignore_completed_elsewhere") is False,
        )

    def _follow(self, binding: Binding) -> Callable[[], Flow]:
        """Return how to find the flow of a binding as it is then: a phone may register anew in mid-call."""

        def find_flow() -> Flow:
            for live in self._bindings.bindings(binding.account_id, binding.device_id):
                same_phone = binding.instance and (live.instance, live.reg_id) == (binding.instance, binding.reg_id)
                if live.key == binding.key or same_phone:
                    return live.flow
            return binding.flow

        return find_flow


def identity(name: str, user: str, realm: str) -> NameAddr:
    """Return a From of ours, with a new tag."""
    return NameAddr(name, f"sip:{escape_user(user)}@{realm}", (("tag", secrets.token_hex(8)),))


def codecs(devices: Iterable[Document]) -> list[str]:
    """Return the audio codecs of devices, those of the first one first."""
    lists = [at(device.data, "media", "audio", "codecs") for device in devices]
    return [codec for found in lists if isinstance(found, list) for codec in found if isinstance(codec, str)]


def wants_srtp(device: Document) -> bool:
    """Return whether a device's media is to be secure: `srtp` is the first method that we know (contract 6.7)."""
    methods = at(device.data, "media", "encryption", "methods")
    return isinstance(methods, list) and next((item for item in methods if item in ("srtp", "zrtp")), "") == "srtp"


def _formatted(base: SipUri, sip: Mapping[str, Json], number: str) -> SipUri:
    """Put into the Request-URI what the device's invite_format asks for (contract 6.5)."""
    username = _text(sip.get("username"))
    dialled = _text(sip.get("number")) or number
    wanted = _text(sip.get("invite_format")) or "username"
    if wanted == "username":
        user = _text(sip.get("static_invite")) or username
    elif wanted in ("e164", "npan", "1npan", "strip_plus"):
        user = number_in_format(wanted, to_e164(dialled))
    else:
        user = "" if base.user else dialled or username
    return with_user(base, escape_user(user)) if user else base


def _ringtone(endpoint: Endpoint) -> Headers:
    """Return Alert-Info for a call from inside, which a quickcall is on both its legs (contract 6.4)."""
    return merge_headers([("Alert-Info", _text(endpoint.merged("ringtones").get("internal")))])


def _aor(username: str, realm: str) -> Headers:
    return (("X-KAZOO-AOR", f"sip:{username}@{realm}"),) if username else ()


def _incoming(device: Document) -> Iterable[tuple[str, str]]:
    """Yield the device's own headers for INVITEs to it: the flat ones and those of `in`."""
    custom = _sip(device).get("custom_sip_headers")
    if isinstance(custom, dict):
        yield from ((name, value) for name, value in custom.items() if isinstance(value, str))
        yield from _strings(custom.get("in"))


def _outgoing(device: Document) -> Iterable[tuple[str, str]]:
    """Yield the headers that a caller's device puts on the calls it makes."""
    custom = _sip(device).get("custom_sip_headers")
    return _strings(custom.get("out")) if isinstance(custom, dict) else ()


def outgoing_headers(device: Document) -> Headers:
    """Return the headers of the authorising device (contract 6.4): in a quickcall, the device itself."""
    return merge_headers(_outgoing(device))


def _strings(value: Json) -> Iterable[tuple[str, str]]:
    pairs = value.items() if isinstance(value, dict) else ()
    return [(name, text) for name, text in pairs if isinstance(text, str)]


def _uri(text: str) -> SipUri:
    return SipUri.parse(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}")


def _sip(device: Document) -> Mapping[str, Json]:
    found = device.data.get("sip")
    return found if isinstance(found, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
