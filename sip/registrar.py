"""What a REGISTER does to the bindings of its AOR (RFC 3261 10.3; Path: RFC 3327; instances and flows: RFC 5626 6).

Who may send it was decided before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence  # noqa: TC003 - the compiled build evaluates it
from dataclasses import dataclass
from typing import Final

from sip.aor import Aor  # noqa: TC001 - the compiled build evaluates it
from sip.errors import ParseError
from sip.flow import Flow  # noqa: TC001 - the compiled build evaluates it
from sip.headers import NameAddr, param_of, parse_seconds, quote
from sip.location import NO_CHANGES, Binding, BindingChanges, Reach
from sip.message import Request, Response
from sip.uri import SipUri, unescape

DEFAULT_EXPIRES: Final = 3600  # seconds, where neither the contact nor the request names any (RFC 3261 10.2.1.1)
MAX_CONTACT: Final = 1024  # characters of a Contact value that we are asked to keep
MAX_WISHES: Final = 128  # Contact values of one request: a phone has one or two, max_contacts goes to 100
MAX_PATH: Final = 8  # hops; each edge proxy adds one

_USUAL_TO: Final = re.compile(r'(?:"[^"\\]*"\s*|)<sips?:([A-Za-z0-9._-]+)@([A-Za-z0-9.-]+)>\Z')  # as phones write it


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


@dataclass(slots=True, init=False)
class Registrant:
    """Who registers, and over which flow."""

    aor: Aor
    account_id: str
    device_id: str
    flow: Flow
    chance: float = 0.0
    """A number from 0 to 1, anew for each request."""

    def __init__(self, aor: Aor, account_id: str, device_id: str, flow: Flow, chance: float = 0.0) -> None:
        self.aor = aor
        self.account_id = account_id
        self.device_id = device_id
        self.flow = flow
        self.chance = chance


@dataclass(slots=True, init=False)
class RegisterResult:
    """What a REGISTER did, or why it did nothing. `answer_register` tells it to the phone."""

    bindings: Sequence[Binding]
    """All that the AOR has now."""
    changes: BindingChanges
    """What is to be stored before the answer."""
    refusal: Response | None = None

    def __init__(self, bindings: Sequence[Binding], changes: BindingChanges, refusal: Response | None = None) -> None:
        self.bindings = bindings
        self.changes = changes
        self.refusal = refusal


@dataclass(slots=True, init=False)
class _Wish:
    """One Contact of the request, read."""

    uri: str
    expires: int
    instance: str = ""
    reg_id: int = 0
    q: float = 1.0

    def __init__(self, uri: str, expires: int, instance: str = "", reg_id: int = 0, q: float = 1.0) -> None:
        self.uri = uri
        self.expires = expires
        self.instance = instance
        self.reg_id = reg_id
        self.q = q


def addressee(request: Request) -> tuple[str, str]:
    """Return user and host, in lower case, of the AOR that a REGISTER is for (RFC 3261 10.3, step 5).

    Raises ParseError where the To names none.
    """
    to = request.one("To")
    usual = _USUAL_TO.match(to)
    if usual is not None:
        user, host = usual.groups()
        return user.lower(), host.lower()
    uri = SipUri.parse(NameAddr.parse(to).uri)
    if uri.user is None:
        raise ParseError("To has no user part")
    return unescape(uri.user).lower(), uri.host.lower()


def process_register(
    request: Request, bindings: Sequence[Binding], policy: RegistrarPolicy, who: Registrant, now: float
) -> RegisterResult:
    """Apply a REGISTER to the live bindings of its AOR (RFC 3261 10.3, steps 6-8).

    A binding last set by the same Call-ID with a higher CSeq is left alone and the whole request refused, so that a
    reordered datagram cannot undo a newer one. The same CSeq again changes nothing new and gets the same answer.
    Nothing is changed unless all of it can be. Never raises: what is wrong with the request is in the refusal.
    """
    try:
        wishes, wildcard = _wishes(request)
        if wildcard:
            return _unbind(request, bindings)
        return _bind(request, bindings, wishes, policy, who, now)
    except ParseError as fault:
        return _refused(request, 400, fault.reason)


def answer_register(request: Request, result: RegisterResult, now: float) -> Response:
    """Answer a REGISTER that was processed at `now` (RFC 3261 10.3, step 8)."""
    if result.refusal is not None:
        return result.refusal
    response = Response.to_request(request, 200)
    response.set("Contact", *[_contact(binding, now) for binding in result.bindings])
    if request.has("Path"):
        response.set("Path", *request.lines("Path"))
        response.add("Supported", "path")
        return response
    for binding in result.changes.put:
        if binding.reg_id and "outbound" in request.tokens("Supported"):
            # RFC 5626 6: tells the phone that its flows count. Not through a proxy, which would have to keep them too.
            response.set("Require", "outbound")
    return response


def is_repeated(request: Request, flow: Flow, bindings: Sequence[Binding]) -> bool:
    """Tell whether the bindings of an AOR show that this very REGISTER was handled already, over the same flow."""
    cseq = request.cseq.number
    return any(
        binding.cseq == cseq and binding.call_id == request.call_id and binding.flow == flow for binding in bindings
    )


def _unbind(request: Request, bindings: Sequence[Binding]) -> RegisterResult:
    call_id, cseq = request.call_id, request.cseq.number
    if any(_outdated(binding, call_id, cseq) for binding in bindings):
        return _out_of_order(request)
    return RegisterResult((), BindingChanges(removed=tuple(bindings)))


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
    call_id, cseq = request.call_id, request.cseq.number
    for wish in wishes:
        if 0 < wish.expires < policy.min_expires:
            return _too_brief(request, policy.min_expires)
        standing = _standing(wish, kept)
        if standing is not None:
            if _outdated(standing, call_id, cseq):
                return _out_of_order(request)
            kept.remove(standing)
        if wish.expires == 0:
            removed += [standing] if standing else []
            continue
        binding = _binding(request, call_id, cseq, wish, standing, policy, who, now)
        if standing is not None and not binding.is_same_contact(standing):
            removed.append(standing)
        put = [other for other in put if not binding.is_same_contact(other)] if put else put
        put.append(binding)
    excess = len(kept) + len(put) - policy.max_contacts
    if excess > 0:
        room = _make_room(kept, excess)
        if room is None:
            return _refused(request, 403, "Too many contacts")
        removed += room
        kept = [binding for binding in kept if binding not in room]
    return RegisterResult(kept + put, BindingChanges(tuple(put), tuple(removed)))


def _binding(
    request: Request,
    call_id: str,
    cseq: int,
    wish: _Wish,
    standing: Binding | None,
    policy: RegistrarPolicy,
    who: Registrant,
    now: float,
) -> Binding:
    longest = min(wish.expires, policy.max_expires)
    granted = max(policy.min_expires, longest - int(longest * policy.expires_jitter * who.chance))
    return Binding(
        aor=who.aor,
        account_id=who.account_id,
        device_id=who.device_id,
        contact=wish.uri,
        flow=who.flow,
        call_id=call_id,
        cseq=cseq,
        expires_at=now + granted,
        granted=granted,
        first_registered=standing.first_registered if standing else now,
        registered_at=now,
        user_agent=(request.first("User-Agent") or "")[:256],
        path=tuple(request.values("Path")),
        instance=wish.instance,
        reg_id=wish.reg_id,
        q=wish.q,
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
    values = request.values("Contact")
    if len(values) > MAX_WISHES:
        raise ParseError("too many Contact values")
    expires = request.first("Expires")
    default = DEFAULT_EXPIRES if expires is None else parse_seconds(expires, default=DEFAULT_EXPIRES)
    if "*" in values:
        # RFC 3261 10.3 step 6: "*" with any other contact, or with an expiration other than zero, MUST be refused.
        if [value for value in values if value] != ["*"] or expires is None or default != 0:
            raise ParseError("Contact * needs Expires: 0 and no other contact")
        return [], True
    path = request.values("Path")
    if len(path) > MAX_PATH:
        raise ParseError("too many Path values")
    for value in path:
        SipUri.parse(NameAddr.parse(value).uri)
    return [_wish(value, default) for value in values if value], False


def _wish(value: str, default: int) -> _Wish:
    if len(value) > MAX_CONTACT:
        raise ParseError("the Contact is too long")
    contact = NameAddr.parse(value)
    uri, params = contact.uri, contact.params
    if not params:
        return _Wish(uri, default)
    expires = param_of(params, "expires")
    instance = param_of(params, "+sip.instance") or ""
    reg_id = param_of(params, "reg-id") or ""
    return _Wish(
        uri,
        default if expires is None else parse_seconds(expires, default=DEFAULT_EXPIRES),
        instance,
        int(reg_id) if instance and reg_id.isascii() and reg_id.isdigit() and len(reg_id) < 10 else 0,
        _q(param_of(params, "q")),
    )


def _standing(wish: _Wish, bindings: Sequence[Binding]) -> Binding | None:
    """Find the binding that the wish is about: the same phone's same flow (RFC 5626 6), else the same URI.

    Raises ParseError where the URI is none. One that stands here already is not read again.
    """
    for binding in bindings:
        if binding.contact == wish.uri:
            named, uri = binding, None
            break
    else:
        named, uri = None, SipUri.parse(wish.uri)
    if wish.instance and wish.reg_id:
        return next((b for b in bindings if (b.instance, b.reg_id) == (wish.instance, wish.reg_id)), None)
    if named is not None:
        return named
    return next((binding for binding in bindings if SipUri.parse(binding.contact) == uri), None)


def _outdated(binding: Binding, call_id: str, cseq: int) -> bool:
    return binding.call_id == call_id and binding.cseq > cseq


def _q(text: str | None) -> float:
    try:
        return min(1.0, max(0.0, float(text))) if text else 1.0
    except ValueError:
        return 1.0


def _contact(binding: Binding, now: float) -> str:
    text = f"<{binding.contact}>;expires={max(0, round(binding.expires_at - now))}"
    if binding.q != 1.0:
        text += f";q={binding.q:.3g}"
    if binding.instance:
        text += f";+sip.instance={quote(binding.instance)}" + (f";reg-id={binding.reg_id}" if binding.reg_id else "")
    return text


def _refused(request: Request, status: int, reason: str | None = None) -> RegisterResult:
    return RegisterResult((), NO_CHANGES, Response.to_request(request, status, reason))


def _too_brief(request: Request, least: int) -> RegisterResult:
    response = Response.to_request(request, 423)
    response.add("Min-Expires", str(least))
    return RegisterResult((), NO_CHANGES, response)


def _out_of_order(request: Request) -> RegisterResult:
    return _refused(request, 400, "CSeq is lower than the last one")
