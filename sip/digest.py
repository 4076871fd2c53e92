"""Digest authentication, both sides, MD5 and SHA-256 (RFC 7616; RFC 8760; RFC 3261 22).

Whether a nonce is stale is told before the password is looked at: an answer to an old nonce must not tell a guesser
whether the guess was right, for only wrong answers to fresh nonces are counted against it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sip.errors import ParseError
from sip.headers import TOKEN, quote
from sip.nonce import NonceState
from sip.uri import SipUri, unescape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sip.message import Response
    from sip.nonce import NonceCounts, NonceSigner

MAX_AUTH_LINE: Final = 2048  # characters of credentials that are read; what RFC 7616 defines stays under 1 KiB
MAX_AUTH_LINES: Final = 8  # credentials or challenges looked at in one message; no phone sends more than 2

_AUTH_PARAM: Final = re.compile(
    r"[\s,]*(?:"
    r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*"
    # Some phones leave the quotes away, and snom 3.56 is known with its last one cut off.
    r'(?:"([^"\\]*(?:\\.[^"\\]*)*)(?:"|\Z)|([^\s,"]*))\s*(?=,|\Z)'
    r"|(.+))",
    re.DOTALL,
)
_USUAL_PARAMS: Final = frozenset(
    {"username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc", "opaque", "stale", "domain"}
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NONCE_COUNT: Final = re.compile(r"[0-9A-Fa-f]{1,8}\Z")  # RFC 7616 3.4 asks for eight digits; some phones send fewer


class Algorithm(Enum):
    """The hash algorithms that we know, weakest first."""

    __hash__ = object.__hash__  # members are keys of what is remembered; Enum's own hash is written in Python

    MD5 = "MD5"
    SHA256 = "SHA-256"

    @staticmethod
    def named(name: str) -> Algorithm | None:
        """Return the algorithm of this name in any case, None for one we do not know."""
        return _ALGORITHMS.get(name) or _ALGORITHMS.get(name.upper())

    def hexdigest(self, text: str) -> str:
        """Return the hash of the text in lower-case hexadecimal digits."""
        data = text.encode("utf-8", "surrogateescape")
        if self is Algorithm.SHA256:
            return hashlib.sha256(data).hexdigest()
        return hashlib.md5(data, usedforsecurity=False).hexdigest()


_ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in Algorithm}
_UNKNOWN_HA1: Final = "0" * 32  # hashed in the place of an unknown user's, so that both take the same time


@dataclass(frozen=True, slots=True)
class Credentials:
    """A username and its password."""

    username: str
    password: str = field(repr=False)

    def ha1(self, realm: str, algorithm: Algorithm) -> str:
        """Return the hash that stands for the password in a realm (RFC 7616 3.4.2)."""
        return algorithm.hexdigest(f"{self.username}:{realm}:{self.password}")


class Outcome(Enum):
    """What became of a request's credentials."""

    OK = "ok"
    NO_CREDENTIALS = "no-credentials"
    """None for this realm and algorithm."""
    MALFORMED = "malformed"
    """Not by the grammar, made for another Request-URI, or with a qop that we did not offer: 400 (RFC 7616 3.4.6)."""
    UNKNOWN_USER = "unknown-user"
    """Must be answered exactly as WRONG is."""
    WRONG = "wrong"
    """The nonce was fresh and the password was not the right one."""
    STALE = "stale"
    FORGED = "forged"
    """The nonce is none of ours; another registrar's, mostly, or of a key that was lost."""
    REPLAYED = "replayed"
    """The password was right, but its nonce was used already with this nonce count or a higher one."""

    @property
    def stale(self) -> bool:
        """Whether the new challenge says `stale=true`: the nonce is at fault, not the password (RFC 7616 3.3)."""
        return self in (Outcome.STALE, Outcome.FORGED, Outcome.REPLAYED)


@dataclass(slots=True, init=False)
class DigestAnswer:
    """The credentials of an Authorization header (RFC 7616 3.4)."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm
    qop: str
    """As it was written; empty in the old form (RFC 2069)."""
    nc: str
    cnonce: str

    def __init__(
        self,
        username: str,
        realm: str,
        nonce: str,
        uri: str,
        response: str,
        algorithm: Algorithm,
        qop: str,
        nc: str,
        cnonce: str,
    ) -> None:
        self.username = username
        self.realm = realm
        self.nonce = nonce
        self.uri = uri
        self.response = response
        self.algorithm = algorithm
        self.qop = qop
        self.nc = nc
        self.cnonce = cnonce

    def __repr__(self) -> str:
        return f"<DigestAnswer {self.username!r} in {self.realm!r}>"

    def expected(self, ha1: str, method: str) -> str:
        """Return the response that the right password gives (RFC 7616 3.4.1)."""
        ha2 = _ha2(self.algorithm, method, self.uri)
        if not self.qop:
            return self.algorithm.hexdigest(f"{ha1}:{self.nonce}:{ha2}")
        return self.algorithm.hexdigest(f"{ha1}:{self.nonce}:{self.nc}:{self.cnonce}:{self.qop}:{ha2}")


def challenge(realm: str, nonce: str, algorithm: Algorithm, *, stale: bool) -> str:
    """Return the value of a WWW-Authenticate header; qop="auth" alone, which every phone understands."""
    fresh = ", stale=true" if stale else ""
    return f'Digest realm={quote(realm)}, nonce="{nonce}"{fresh}, algorithm={algorithm.value}, qop="auth"'


def find_answer(lines: Sequence[str], realm: str, algorithm: Algorithm) -> DigestAnswer | Outcome:
    """Return the credentials that were made for our challenge out of all a request carries, else why there are none."""
    failure = Outcome.NO_CREDENTIALS
    for line in lines[:MAX_AUTH_LINES]:
        try:
            if line[:6].lower() != "digest":
                continue
            _, params = parse_auth(line)
            if params.get("realm") == realm and Algorithm.named(params.get("algorithm", "MD5")) is algorithm:
                return _answer(params, algorithm)
        except ParseError:
            failure = Outcome.MALFORMED
    return failure


def verify(
    answer: DigestAnswer,
    *,
    method: str,
    request_uri: str,
    ha1: str | None,
    signer: NonceSigner,
    counts: NonceCounts,
    now: float,
) -> Outcome:
    """Check the credentials of a request against the HA1 of their user, None for an unknown one.

    `ha1` must be of the answer's own spelling of the username. `counts` is changed only where the outcome is OK.
    """
    if not names_same_target(answer.uri, request_uri):
        return Outcome.MALFORMED
    state = signer.check(answer.nonce, now)
    if state is not NonceState.FRESH:
        return Outcome.STALE if state is NonceState.STALE else Outcome.FORGED
    expected = answer.expected(ha1 or _UNKNOWN_HA1, method)
    matches = answer.response.isascii() and hmac.compare_digest(expected, answer.response)
    if ha1 is None:
        return Outcome.UNKNOWN_USER
    if not matches:
        return Outcome.WRONG
    return Outcome.OK if counts.take(answer.nonce, int(answer.nc or "0", 16)) else Outcome.REPLAYED


def names_same_target(digest_uri: str, request_uri: str) -> bool:
    """Tell whether the digest-uri may stand for the Request-URI (RFC 7616 3.4.6).

    The RFC wants the same resource. Phones write the domain without port or parameters, or their proxy's address, and
    SBCs change the Request-URI: so any SIP URI will do that does not name another user.
    """
    if digest_uri == request_uri:
        return True
    try:
        signed, asked = SipUri.parse(digest_uri).user, SipUri.parse(request_uri).user
    except ParseError:
        # SIPp writes an IPv6 address without its brackets.
        return digest_uri.startswith("sip:") and "@" not in digest_uri
    return signed is None or asked is None or unescape(signed) == unescape(asked)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge that we can answer (RFC 7616 3.3)."""

    realm: str
    nonce: str = field(repr=False)
    algorithm: Algorithm
    qop: bool
    """Whether `auth` is offered; without it the answer takes the old form."""
    opaque: str | None = None
    stale: bool = False


ANSWERED_BY: Final = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}
"""The header of a challenge and that of its answer, by the status that carries them (RFC 3261 22.2, 22.3)."""


def choose_challenge(lines: Sequence[str]) -> Challenge | None:
    """Return the challenge with the strongest algorithm that we know, the topmost of several equal ones."""
    known = [item for item in map(_challenge, lines[:MAX_AUTH_LINES]) if item is not None]
    strength = list(Algorithm)
    return max(known, key=lambda item: strength.index(item.algorithm), default=None)


def answer_challenge(
    offered: Challenge, credentials: Credentials, *, method: str, uri: str, nc: int, cnonce: str
) -> str:
    """Return the value of an Authorization header that answers the challenge."""
    algorithm = offered.algorithm
    qop, count = ("auth", f"{nc:08x}") if offered.qop else ("", "")
    blank = DigestAnswer(credentials.username, offered.realm, offered.nonce, uri, "", algorithm, qop, count, cnonce)
    response = blank.expected(credentials.ha1(offered.realm, algorithm), method)
    quoted = {"username": credentials.username, "realm": offered.realm, "nonce": offered.nonce, "uri": uri}
    params = [f"{name}={quote(value)}" for name, value in quoted.items()]
    params += [f'response="{response}"', f"algorithm={algorithm.value}"]
    if offered.qop:
        params += [f"cnonce={quote(cnonce)}", "qop=auth", f"nc={count}"]
    if offered.opaque is not None:
        params.append(f"opaque={quote(offered.opaque)}")
    return "Digest " + ", ".join(params)


def answer_response(
    response: Response, credentials: Credentials, *, uri: str, nc: int, cnonce: str
) -> tuple[str, str] | None:
    """Return the header, name and value, that answers a 401 or 407; None where it has no challenge that we know.

    Raises ParseError where the response has no readable CSeq to take the method from.
    """
    if response.status not in ANSWERED_BY:
        return None
    asks, answers = ANSWERED_BY[response.status]
    offered = choose_challenge(response.lines(asks))
    if offered is None:
        return None
    method = response.cseq.method
    return answers, answer_challenge(offered, credentials, method=method, uri=uri, nc=nc, cnonce=cnonce)


def parse_auth(text: str) -> tuple[str, dict[str, str]]:
    """Parse a challenge or credentials: the scheme in lower case, and the parameters, unquoted, by lower-case name.

    Raises ParseError where something is no parameter, or where one stands twice.
    """
    if len(text) > MAX_AUTH_LINE:
        raise ParseError("the credentials or challenge are too long")
    scheme, *rest = text.split(None, 1) or ("",)
    return scheme.lower(), (_plain_params(rest[0]) or _any_params(rest[0])) if rest else {}


def _plain_params(text: str) -> dict[str, str] | None:
    """Read parameters as nearly every phone writes them, in half the time; None where it is not so simple."""
    pieces = text.split(", ")
    params: dict[str, str] = {}
    for piece in pieces:
        name, _, value = piece.partition("=")
        if value[:1] == '"':
            inner = value[1:-1]
            if value[-1] != '"' or len(value) < 2 or '"' in inner:
                return None
            params[name] = inner
        elif value.isalnum() or TOKEN.match(value):
            params[name] = value
        else:
            return None
    simple = len(params) == len(pieces) and _USUAL_PARAMS.issuperset(params) and "\\" not in text
    return params if simple else None


def _any_params(text: str) -> dict[str, str]:
    found: list[tuple[str, str, str, str]] = _AUTH_PARAM.findall(text)
    if found and found[-1][3]:
        if found[-1][3].strip(" \t,"):
            raise ParseError("malformed credentials or challenge")
        found.pop()
    params = {name.lower(): _ESCAPED.sub(r"\1", quoted) or token for name, quoted, token, _ in found}
    if len(params) != len(found):
        raise ParseError("a parameter of credentials or challenge stands twice")
    return params


def _answer(params: dict[str, str], algorithm: Algorithm) -> DigestAnswer:
    try:
        username, realm, nonce = params["username"], params["realm"], params["nonce"]
        uri, response = params["uri"], params["response"].lower()
    except KeyError as missing:
        raise ParseError(f"the credentials have no {missing.args[0]}") from None
    qop = params.get("qop", "")
    if not qop:
        return DigestAnswer(username, realm, nonce, uri, response, algorithm, "", "", "")
    nc, cnonce = params.get("nc", ""), params.get("cnonce", "")
    if qop.lower() != "auth" or not cnonce or not _NONCE_COUNT.match(nc):
        raise ParseError("the credentials have a qop that was not offered, or no nc or cnonce")
    return DigestAnswer(username, realm, nonce, uri, response, algorithm, qop, nc, cnonce)


def _challenge(line: str) -> Challenge | None:
    try:
        scheme, params = parse_auth(line)
    except ParseError:
        return None
    algorithm = Algorithm.named(params.get("algorithm") or "MD5")
    offered = _options(params.get("qop", ""))
    if scheme != "digest" or algorithm is None or "nonce" not in params or (offered and "auth" not in offered):
        return None
    stale = params.get("stale", "").lower() == "true"
    return Challenge(params.get("realm", ""), params["nonce"], algorithm, bool(offered), params.get("opaque"), stale)


def _options(text: str) -> frozenset[str]:
    options: Iterable[str] = (option.strip().lower() for option in text.split(","))
    return frozenset(option for option in options if option)


def _ha2(algorithm: Algorithm, method: str, uri: str) -> str:
    return _ha2_memoised(algorithm, method, uri) if len(uri) <= 128 else algorithm.hexdigest(f"{method}:{uri}")


@lru_cache(maxsize=1024)
def _ha2_memoised(algorithm: Algorithm, method: str, uri: str) -> str:
    return algorithm.hexdigest(f"{method}:{uri}")
