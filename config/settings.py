"""The settings: one frozen dataclass a section, one field a key.

Rule: a key is made here and nowhere else. Its type, default, bounds and the docstring under it are what the loader
checks, and what `default.toml` and the documentation are generated from (`make reference`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from config.listen import HostPort, Listener, ListenTransport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

PORTS_PER_CALL = 4
"""UDP ports that a call with media here uses: RTP and RTCP, twice."""

RINGBACKS = (
    "at", "au", "be", "br", "ca", "ch", "cn", "cz", "de", "dk", "es", "fi", "fr", "gb", "gr", "hu", "ie", "il", "in",
    "it", "jp", "mx", "nl", "no", "nz", "pl", "pt", "ru", "se", "us", "za",
)  # fmt: skip
"""Countries whose ringing is known."""

RULE = "rule"
"""Under this name a field's metadata holds its `Rule`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may hold beside what its type says."""

    unit: str = ""
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """A regular expression that the whole text must match, unless it is empty."""
    example: str = ""
    """A text that matches the pattern."""
    secret: bool = False
    """Never shown: not in a repr, a log line or a message about a fault."""
    pem: bool = False
    """The path of a file with certificates or a key."""


def key(default: T, rule: Rule | None = None) -> T:
    """Declare a key: a dataclass field with its rule."""
    rule = rule or Rule()
    return field(default=default, repr=not rule.secret, metadata={RULE: rule})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the configuration."""

    key: str
    """Such as `sip.min_expires`, an environment variable, or a file's path."""
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the file."""

    def conflicts(self) -> Iterable[Fault]:
        """Return the faults of keys that each are right alone."""
        return ()


@dataclass(frozen=True, slots=True)
class SipSettings(Section):
    """SIP: where phones register, and for how long."""

    listen: tuple[Listener, ...] = key(
        (Listener(ListenTransport.UDP, "0.0.0.0", 5060), Listener(ListenTransport.TCP, "0.0.0.0", 5060))  # noqa: S104 - phones come from everywhere
    )
    """Addresses that SIP is served on, each `TRANSPORT:ADDRESS:PORT`. Transports are `udp`, `tcp`, `tls`, and `ws` and
    `wss` for phones in browsers; `tls` and `wss` need `tls.certificate`. An IPv6 address stands in brackets; `[::]` is
    IPv6 alone, so `0.0.0.0` may stand beside it."""

    default_realm: str = key("", Rule(pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", example="sip.example.com"))
    """Realm of the account that phones mean which register to an address of this host rather than to a realm.
    Empty means the master account's."""

    min_expires: int = key(60, Rule(unit="seconds", least=1, most=86_400))
    """Shortest registration; a phone that asks for less is told 423 and this figure."""

    max_expires: int = key(3600, Rule(unit="seconds", least=1, most=86_400))
    """Longest registration; a phone that asks for more gets this."""

    max_contacts: int = key(10, Rule(least=1, most=100))
    """Contacts that one device may have registered at once. When they are all taken, one that cannot be reached makes
    room for a new one."""

    expires_jitter: float = key(0.1, Rule(least=0, most=1))
    """Largest share by which a granted registration is shortened, by chance, so that phones which came back together
    after a power cut do not come back together for ever."""

    digest: str = key("md5", Rule(choices=("md5", "sha-256")))
    """Digest that phones are challenged with. Every phone knows MD5; a device may ask for SHA-256 by `sip.digest` in
    its document."""

    qualify_interval: float = key(60.0, Rule(unit="seconds", least=0, most=3600))
    """How often a phone that was not heard of is asked by OPTIONS whether it is there; 0 never asks."""

    flow_grace: float = key(300.0, Rule(unit="seconds", least=0, most=86_400))
    """How long a contact is kept whose connection closed (TCP, TLS, WebSocket); it is unreachable meanwhile."""

    tcp_keepalive: float = key(90.0, Rule(unit="seconds", least=0, most=3600))
    """After how long without traffic a CRLF is sent over a TCP or TLS connection, so that the NATs on its way keep it
    open; 0 never sends one. WebSockets have their own pings."""

    rate_per_source: float = key(100.0, Rule(unit="messages a second", least=0, most=1_000_000))
    """Messages a second that one address (for IPv6: one /64) may send before any of them is looked at; more are
    dropped. It does not hold for this host, nor for two hours after a registration from the address. 0 is no limit."""

    rate_burst: int = key(1000, Rule(unit="messages", least=1, most=1_000_000))
    """Messages that such an address may send at once."""

    max_waiting: int = key(2000, Rule(unit="requests", least=10, most=100_000))
    """REGISTER requests that may wait for their answer at once, half of them without credentials. More are told 503 and
    to come again in 5 to 30 seconds, each at another time, and so are all while the receive buffer is filling up; in up
    to 5 minutes while many more are refused than taken."""

    max_connections: int = key(20_000, Rule(least=1, most=1_000_000))
    """Connections (TCP, TLS, WebSocket) that may be open in all; each needs a file descriptor (LimitNOFILE)."""

    max_connections_per_source: int = key(2_000, Rule(least=1, most=1_000_000))
    """Connections that one address (for IPv6: one /64) may have open; it does not hold for this host."""

    nameservers: tuple[HostPort, ...] = key(())
    """DNS servers, each `ADDRESS:PORT`, that are asked where the names in SIP URIs lead. Empty means those of this
    host, with its own hosts file."""

    drop_strangers: bool = key(default=True)
    """Do not answer known scanners, nor requests for domains that are not served here."""

    durability: str = key("commit", Rule(choices=("commit", "relaxed")))
    """`commit` answers a registration when it is on the disk; `relaxed` answers first and writes within a second,
    so that a crash or power cut may take the last of them."""

    def conflicts(self) -> Iterator[Fault]:
        """Yield the faults of keys that each are right alone."""
        if self.min_expires > self.max_expires:
            yield Fault("sip.min_expires", f"is {self.min_expires}, above sip.max_expires, which is {self.max_expires}")
        if not self.listen:
            yield Fault("sip.listen", "needs at least one address")
        for listener in sorted({str(each) for each in self.listen if each.port and self.listen.count(each) > 1}):
            yield Fault("sip.listen", f"names {listener} more than once")


@dataclass(frozen=True, slots=True)
class TlsSettings(Section):
    """TLS. `roost tls self-signed` makes a certificate for trials; SIGHUP reads the files anew."""

    minimum_version: str = key("1.2", Rule(choices=("1.2", "1.3")))
    """Oldest version of TLS that is spoken."""

    ciphers: str = key("", Rule(pattern=r"[A-Za-z0-9:+!@=_,-]+", example="ECDHE+AESGCM"))
    """OpenSSL's list of ciphers for TLS 1.2. Empty means the usual ones, which are all with forward secrecy."""

    ca_file: str = key("", Rule(pem=True))
    """PEM file of the CA that the PBX's certificate must come from, where `quickcall.route` goes over TLS; it may be
    the certificate itself. Empty means the CAs that this host trusts."""

    certificate: str = key("", Rule(pem=True))
    """PEM file with the certificate of `tls` and `wss` listeners, and those between it and its CA's."""

    # Last, for its name hides the function that makes keys.
    key: str = key("", Rule(pem=True))
    """PEM file with the certificate's key, without a passphrase. Empty means that the key is in the same file."""

    def conflicts(self) -> Iterator[Fault]:
        """Yield the faults of keys that each are right alone."""
        if self.key and not self.certificate:
            yield Fault("tls.certificate", "is empty, but tls.key is set")


@dataclass(frozen=True, slots=True)
class ApiSettings(Section):
    """The HTTP API."""

    listen: HostPort = key(HostPort("127.0.0.1", 8000))
    """Address that the API is served on."""

    token_ttl: int = key(3600, Rule(unit="seconds", least=1, most=31_536_000))
    """Life of an auth token."""

    anonymous_quickcall: bool = key(default=False)
    """Whether `quickcall` works without a token, for every device that does not say
    `allow_anonymous_quickcalls: false`."""

    rate: int = key(10, Rule(unit="a second", least=1, most=100_000))
    """Logins and quickcalls that one client may ask for, for each account, in the long run."""

    burst: int = key(100, Rule(least=1, most=1_000_000))
    """Logins and quickcalls that one client may ask for at once."""

    max_requests: int = key(500, Rule(least=1, most=100_000))
    """Requests that may be under way at once, streams of events apart; more are told 429 and when to come again."""

    realm_suffix: str = key(
        "sip.roost.local", Rule(pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", example="sip.example.com")
    )
    """Domain below which an account gets its realm that is made without one."""

    trusted_proxies: tuple[str, ...] = key(("127.0.0.1", "::1"))
    """Addresses of reverse proxies, whose X-Forwarded-For tells which client asks."""


@dataclass(frozen=True, slots=True)
class StoreSettings(Section):
    """The database."""

    path: str = key("")
    """SQLite file. Empty means `roost.db` in `$STATE_DIRECTORY` (systemd sets it), or else `var/roost.db` below the
    working directory."""


@dataclass(frozen=True, slots=True)
class QuickcallSettings(Section):
    """Click-to-call: where numbers go that are no device of the account."""

    route: str = key("", Rule(pattern=r"sips?:[^\s{}]*\{number\}[^\s{}]*", example="sip:{number}@127.0.0.1:5080"))
    """SIP URI such as `sip:{number}@127.0.0.1:5080`, with `{number}` where the number goes. Empty means that only
    devices can be called."""

    username: str = key("")
    """User name for the route, if it asks for one."""

    password: str = key("", Rule(secret=True))
    """Password for the route, if it asks for one."""

    asserted_identity: str = key(
        "", Rule(pattern=r"(sips?:[^\s<>,;]+@[^\s<>,;]+|tel:[^\s<>,;]+)", example="sip:{number}@example.com")
    )
    """URI that calls over the route carry as P-Asserted-Identity (RFC 3325), such as `tel:+4930123456`, or
    `sip:{number}@example.com` with `{number}` where the caller's number goes. Empty means none."""

    max_calls: int = key(1000, Rule(least=1, most=10_000))
    """Calls that may be up at once; more are refused with 503."""

    probe_interval: float = key(60.0, Rule(unit="seconds", least=1, most=3600))
    """How often both phones of a call are asked by OPTIONS whether they are still there. One that does not answer has
    died, and its call is ended half a minute later."""

    cdr_retention: int = key(30, Rule(unit="days", least=0, most=3650))
    """How long the records of calls that have ended are kept; 0 keeps none."""

    def conflicts(self) -> Iterator[Fault]:
        """Yield the faults of keys that each are right alone."""
        if self.password and not self.username:
            yield Fault("quickcall.username", "is empty, but quickcall.password is set")


@dataclass(frozen=True, slots=True)
class SyncSettings(Section):
    """Check-sync: what becomes of it."""

    reboot_window: float = key(300.0, Rule(unit="seconds", least=1, most=3600))
    """How long after a NOTIFY a phone that registers with a new Call-ID is taken to have restarted because of it."""


@dataclass(frozen=True, slots=True)
class VendorSettings(Section):
    """Makes of phones: how they are known, and what NOTIFYs and headers they obey."""

    file: str = key("")
    """TOML file of the form of the table that is shipped, `sip/vendors.toml`. The keys of its rows take the place of
    those of a row with that name, and its new rows are looked at first."""


@dataclass(frozen=True, slots=True)
class WebhookSettings(Section):
    """Webhooks: URLs that the clients of the API have told what happens."""

    allow_local: bool = key(default=False)
    """Send to addresses of this host, loopback, link-local, multicast and cloud metadata addresses too. Whoever may
    create a webhook can then reach what listens there."""

    timeout: float = key(10.0, Rule(unit="seconds", least=1, most=60))
    """How long a webhook may take to answer."""

    keep: int = key(1000, Rule(least=1, most=10_000))
    """Events that wait for one webhook which does not take them; the oldest make room for new ones."""


@dataclass(frozen=True, slots=True)
class MetricsSettings(Section):
    """Monitoring: /metrics for Prometheus, /healthz and /readyz."""

    listen: tuple[HostPort, ...] = key(())
    """Addresses that these are served on to everybody who reaches them. On `api.listen` they are served too, to clients
    on this host alone and not through a proxy."""


@dataclass(frozen=True, slots=True)
class MediaSettings(Section):
    """Quickcalls with `media=process`: each has its media in a process of its own, which bridges and transcodes."""

    workers: int = key(2, Rule(least=0, most=50))
    """Media workers that are started before they are needed, 14 MB each; without one a call waits a tenth of a second
    for its own."""

    max_calls: int = key(50, Rule(least=1, most=1000))
    """Calls that may have their media here at once; one costs a hundredth of a processor core. More are refused."""

    port_range: str = key("9000-9399", Rule(pattern=r"\d{4,5}-\d{4,5}", example="9000-9399"))
    """UDP ports for RTP, the first and the last; each call has four. They must be open to the phones."""

    address: str = key("", Rule(pattern=r"\d{1,3}(\.\d{1,3}){3}", example="203.0.113.7"))
    """IPv4 address that phones send RTP to, where it is not the one they send SIP to: the public one of a NAT that this
    host is behind."""

    ringback: str = key("us", Rule(choices=RINGBACKS))
    """Country whose ringing the device hears while the number rings."""

    @property
    def ports(self) -> tuple[int, int]:
        """The first and the last port for RTP."""
        first, _, last = self.port_range.partition("-")
        return int(first), int(last)

    def conflicts(self) -> Iterator[Fault]:
        """Yield the faults of keys that each are right alone."""
        first, last = self.ports if self.port_range else (0, 0)
        calls = (last + 1 - first - first % 2) // PORTS_PER_CALL
        if not 1024 <= first <= last <= 65535:
            yield Fault("media.port_range", "must name two ports from 1024 to 65535, the lower one first")
        elif calls < self.max_calls:
            yield Fault("media.port_range", f"has ports for {calls} calls, below media.max_calls, {self.max_calls}")
        if self.address and any(int(part) > 255 for part in self.address.split(".")):
            yield Fault("media.address", f"is no IPv4 address: {self.address}")


@dataclass(frozen=True, slots=True)
class HepSettings(Section):
    """Export of all SIP messages to a Homer, by HEP version 3 over UDP; what proves who somebody is is taken out."""

    server: str = key(
        "", Rule(pattern=r"|(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", example="homer.example.com:9060")
    )
    """Where Homer listens: a name or an address, and a port. Empty exports nothing."""

    capture_id: int = key(2001, Rule(least=0, most=4_294_967_295))
    """How Homer knows this host."""

    password: str = key("", Rule(secret=True))
    """Password that Homer expects, if it does; it is sent in clear."""


@dataclass(frozen=True, slots=True)
class LogSettings(Section):
    """The log, on standard error."""

    level: str = key("info", Rule(choices=("debug", "info", "warning", "error")))
    """Least severe event that is logged."""

    levels: tuple[str, ...] = key(
        (), Rule(pattern=r"[A-Za-z_][\w.]*=(debug|info|warning|error)", example="sip.io=debug")
    )
    """Levels of some modules, each `MODULE=LEVEL`, such as `sip.io=debug` or `aiohttp=error`; a module's name is
    the `logger` of its lines, and stands for the modules within it too."""

    format: str = key("auto", Rule(choices=("auto", "console", "json")))
    """`console` is for people, `json` for machines; `auto` takes console on a terminal and JSON otherwise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be configured."""

    sip: SipSettings = field(default_factory=SipSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    vendors: VendorSettings = field(default_factory=VendorSettings)
    quickcall: QuickcallSettings = field(default_factory=QuickcallSettings)
    media: MediaSettings = field(default_factory=MediaSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    hep: HepSettings = field(default_factory=HepSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def conflicts(self) -> Iterator[Fault]:
        """Yield the faults of sections that each are right alone."""
        secure = next((each for each in self.sip.listen if each.transport.secure), None)
        if secure is not None and not self.tls.certificate:
            yield Fault("tls.certificate", f"is empty, but sip.listen has {secure}; try `roost tls self-signed`")
