"""What a REGISTER does to the bindings of its AOR (RFC 3261 10.3; Path: RFC 3327; instances and flows: RFC 5626 6).

Who may send it was decided before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sip.errors import ParseError
from sip.headers import NameAddr, parse_seconds, quote
from sip.location import Binding, BindingChanges, Reach
from sip.message import Request, Response
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip.flow import Flow
    from sip.uri import Aor

DEFAULT_EXPIRES: Final = 3600  # seconds, where neither the contact nor the request names any (RFC 3261 10.2.1.1)
MAX_CONTACT: Final = 1024  # characters of a Contact value that we are asked to keep
MAX_WISHES: Final = 128  # Contact values of one request: a phone has one or two, max_contacts goes to 100
MAX_PATH: Final = 8  # hops; each edge proxy adds one


@dataclass(frozen=True, slots=True)
class RegistrarPolicy:
    """How long, and how many."""

    min_expires: int = 60
    """Seconds; a shorter wish is refused with 423."""
    max_expires: int = 3600
    """Seconds; a longer wish is cut."""
    max_contacts: int = 10
    """Of one AOR."""
    expires_jitter: float = 0.0
    """Largest share by which a granted time is shortened, by chance, so that phones do not come back in step."""


class Registrant(NamedTuple):
    """Who registers, and over which flow."""

    aor: Aor
    account_id: str
    device_id: str
    flow: Flow
    chance: float = 0.0
    """A number from 0 to 1, anew for each request."""


class RegisterResult(NamedTuple):
    """What a REGISTER did: the answer, and the changes to store before sending it."""

    response: Response
    changes: BindingChanges


class _Wish(NamedTuple):
    """One Contact of the request, read."""

    address: NameAddr
    expires: int
    instance: str
    reg_id: int


def process_register(
    request: Request, bindings: Sequence[Binding], policy: RegistrarPolicy, who: Registrant, now: float
) -> RegisterResult:
    """Apply a REGISTER to the live bindings of its AOR (RFC 3261 10.3, steps 6-8).

    A binding last set by the same Call-ID with a higher CSeq is left alone and the whole request refused, so that a
    reordered datagram cannot undo a newer one. The same CSeq again changes nothing new and gets the same answer.
    Nothing is changed unless all of it can be. Never raises: what is wrong with the request is in the response.
    """
    try:
        wishes, wildcard = _wishes(request)
    except ParseError as fault:
        return _refused(request, 400, fault.reason)
    cseq = request.cseq.number
    if wildcard:
        stale = any(_outdated(binding, request.call_id, cseq) for binding in bindings)
        return _out_of_order(request) if stale else _answer(request, (), BindingChanges(removed=tuple(bindings)), now)
    if any(0 < wish.expires < policy.min_expires for wish in wishes):
        result = _refused(request, 423)
        result.response.add("Min-Expires", str(policy.min_expires))
        return result
    return _bind(request, bindings, wishes, policy, who, now)


def is_repeated(request: Request, flow: Flow, bindings: Sequence[Binding]) -> bool:
    """Tell whether the bindings of an AOR show that this very REGISTER was handled already, over the same flow."""
    cseq = request.cseq.number
    return any(
        binding.cseq == cseq and binding.call_id == request.call_id and binding.flow == flow for binding in bindings
    )


def list_bindings(request: Request, bindings: Sequence[Binding], now: float) -> Response:
    """Answer a REGISTER that changes nothing."""
    return _answer(request, bindings, BindingChanges(), now).response


def _bind(
    request: Request,
    bindings: Sequence[Binding],
    wishes: Sequence[_Wish],
    policy: RegistrarPolicy,
    who: Registrant,
    now: float,
) -> RegisterResult:
    kept = list(bindings)
    put: list[Binding] = []
    removed: list[Binding] = []
    cseq = request.cseq.number
    for wish in wishes:
        standing = _standing(wish, kept)
        if standing is not None:
            if _outdated(standing, request.call_id, cseq):
                return _out_of_order(request)
            kept.remove(standing)
        if wish.expires == 0:
            removed += [standing] if standing else []
            continue
        binding = _binding(request, wish, standing, policy, who, now)
        if standing is not None and standing.key != binding.key:
            removed.append(standing)
        put = [other for other in put if other.key != binding.key] if put else put
        put.append(binding)
    excess = len(kept) + len(put) - policy.max_contacts
    if excess > 0:
        room = _make_room(kept, excess)
        if room is None:
            return _refused(request, 403, "Too many contacts")
        removed += room
        kept = [binding for binding in kept if binding not in room]
    return _answer(request, kept + put, BindingChanges(tuple(put), tuple(removed)), now)


def _binding(
    request: Request, wish: _Wish, standing: Binding | None, policy: RegistrarPolicy, who: Registrant, now: float
) -> Binding:
    longest = min(wish.expires, policy.max_expires)
    granted = max(policy.min_expires, longest - int(longest * policy.expires_jitter * who.chance))
    return Binding(
        aor=who.aor,
        account_id=who.account_id,
        device_id=who.device_id,
        contact=wish.address.uri,
        flow=who.flow,
        call_id=request.call_id,
        cseq=request.cseq.number,
        expires_at=now + granted,
        granted=granted,
        first_registered=standing.first_registered if standing else now,
        registered_at=now,
        user_agent=(request.first("User-Agent") or "")[:256],
        path=tuple(request.values("Path")),
        instance=wish.instance,
        reg_id=wish.reg_id,
        q=_q(wish.address.param("q")),
        last_seen=now,
        reach=Reach.REACHABLE,
        latency=standing.latency if standing else None,
    )


def _make_room(kept: Sequence[Binding], excess: int) -> list[Binding] | None:
    """Choose what goes where there are too many contacts: the longest unreachable; None where all are well."""
    lost = sorted((binding for binding in kept if binding.reach is Reach.UNREACHABLE), key=lambda each: each.lost_at)
    return lost[:excess] if excess <= len(lost) else None


def _wishes(request: Request) -> tuple[list[_Wish], bool]:
    """Read the Contact values; the flag says that it was the one `*`. Raises ParseError."""
    values = [value for value in request.values("Contact") if value]
    if len(values) > MAX_WISHES:
        raise ParseError("too many Contact values")
    default = parse_seconds(request.first("Expires") or "", default=DEFAULT_EXPIRES)
    if "*" in values:
        # RFC 3261 10.3 step 6: "*" with any other contact, or with an expiration other than zero, MUST be refused.
        if len(values) > 1 or request.first("Expires") is None or default != 0:
            raise ParseError("Contact * needs Expires: 0 and no other contact")
        return [], True
    path = request.values("Path")
    if len(path) > MAX_PATH:
        raise ParseError("too many Path values")
    for value in path:
        SipUri.parse(NameAddr.parse(value).uri)
    return [_wish(value, default) for value in values], False


def _wish(value: str, default: int) -> _Wish:
    if len(value) > MAX_CONTACT:
        raise ParseError("the Contact is too long")
    address = NameAddr.parse(value)
    SipUri.parse(address.uri)
    expires = address.param("expires")
    instance = address.param("+sip.instance") or ""
    reg_id = address.param("reg-id") or ""
    return _Wish(
        address,
        default if expires is None else parse_seconds(expires, default=DEFAULT_EXPIRES),
        instance,
        int(reg_id) if instance and reg_id.isascii() and reg_id.isdigit() and len(reg_id) < 10 else 0,
    )


def _standing(wish: _Wish, bindings: Sequence[Binding]) -> Binding | None:
    """Find the binding that the wish is about: the same phone's same flow (RFC 5626 6), else the same URI."""
    if wish.instance and wish.reg_id:
        return next((b for b in bindings if (b.instance, b.reg_id) == (wish.instance, wish.reg_id)), None)
    for binding in bindings:
        if binding.contact == wish.address.uri:
            return binding
    if not bindings:
        return None
    uri = SipUri.parse(wish.address.uri)
    return next((binding for binding in bindings if SipUri.parse(binding.contact) == uri), None)


def _outdated(binding: Binding, call_id: str, cseq: int) -> bool:
    return binding.call_id == call_id and binding.cseq > cseq


def _q(text: str | None) -> float:
    try:
        return min(1.0, max(0.0, float(text))) if text else 1.0
    except ValueError:
        return 1.0


def _answer(request: Request, bindings: Sequence[Binding], changes: BindingChanges, now: float) -> RegisterResult:
    response = Response.to_request(request, 200)
    response.set("Contact", *[_contact(binding, now) for binding in bindings])
    if request.lines("Path"):
        response.set("Path", *request.lines("Path"))
        response.add("Supported", "path")
    elif any(binding.reg_id for binding in changes.put) and "outbound" in request.tokens("Supported"):
        # RFC 5626 6: tells the phone that its flows count. Not through a proxy, which would have to keep them too.
        response.add("Require", "outbound")
    return RegisterResult(response, changes)


def _contact(binding: Binding, now: float) -> str:
    text = f"<{binding.contact}>;expires={max(0, round(binding.expires_at - now))}"
    if binding.q != 1.0:
        text += f";q={binding.q:.3g}"
    if binding.instance:
        text += f";+sip.instance={quote(binding.instance)}" + (f";reg-id={binding.reg_id}" if binding.reg_id else "")
    return text


def _refused(request: Request, status: int, reason: str | None = None) -> RegisterResult:
    return RegisterResult(Response.to_request(request, status, reason), BindingChanges())


def _out_of_order(request: Request) -> RegisterResult:
    return _refused(request, 400, "CSeq is lower than the last one")
