"""The settings as each part of the daemon wants them, and which of them a reload changes.

Rule: a key is in RELOADED when, and only when, what is made from it here or by `Roost.reload` is taken while it runs.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from api.policy import Policy
from daemon.registration import RegistrationPolicy
from sip.digest import Algorithm
from sip.flow import Address
from sip.io.policy import EndpointPolicy
from sip.io.tls import TlsFiles
from sip.patience import IDLE_TIMEOUT, StreamLimits
from sip.registrar import RegistrarPolicy

if TYPE_CHECKING:
    from config.settings import ApiSettings, Settings, SipSettings

RELOADED: Final = frozenset(
    {
        *(f"tls.{name}" for name in ("certificate", "key", "ca_file", "minimum_version", "ciphers")),
        *(f"sip.{name}" for name in ("min_expires", "max_expires", "max_contacts", "expires_jitter", "default_realm")),
        *(f"sip.{name}" for name in ("digest", "drop_strangers", "durability", "tcp_keepalive")),
        *("sip.max_waiting", "api.max_requests"),
        *(f"sip.{name}" for name in ("rate_per_source", "rate_burst", "max_connections", "max_connections_per_source")),
        *(f"api.{name}" for name in ("anonymous_quickcall", "rate", "burst", "realm_suffix", "trusted_proxies")),
        "vendors.file", "quickcall.max_calls", "quickcall.cdr_retention", "media.max_calls", "log.level", "log.levels",
    }
)  # fmt: skip
"""Keys that a reload takes; the others need a restart."""


def api_policy(api: ApiSettings) -> Policy:
    """Return what the API goes by."""
    return Policy(
        version=version("roost"),
        anonymous_quickcall=api.anonymous_quickcall,
        account_realm_suffix=api.realm_suffix,
        rate_capacity=api.burst,
        rate_per_second=api.rate,
        max_requests=api.max_requests,
        trusted_proxies=frozenset(api.trusted_proxies),
    )


def endpoint_policy(settings: Settings) -> EndpointPolicy:
    """Return what SIP's sockets go by."""
    sip = settings.sip
    return EndpointPolicy(
        tls=_tls_files(settings),
        # A phone that says nothing else refreshes its registration; after two that it missed it is gone.
        streams=StreamLimits(idle=max(IDLE_TIMEOUT, 2.0 * sip.max_expires), keepalive=sip.tcp_keepalive),
        rate_per_source=sip.rate_per_source,
        rate_burst=sip.rate_burst,
        max_connections=sip.max_connections,
        max_connections_per_source=sip.max_connections_per_source,
        nameservers=tuple(Address(server.host, server.port) for server in sip.nameservers),
    )


def _tls_files(settings: Settings) -> TlsFiles:
    tls = settings.tls
    return TlsFiles(tls.certificate, tls.key, tls.ca_file, tls.minimum_version, tls.ciphers)


def registration_policy(sip: SipSettings) -> RegistrationPolicy:
    """Return what registrations go by."""
    return RegistrationPolicy(
        RegistrarPolicy(sip.min_expires, sip.max_expires, sip.max_contacts, sip.expires_jitter),
        default_realm=sip.default_realm,
        algorithm=Algorithm.named(sip.digest) or Algorithm.MD5,
        drop_strangers=sip.drop_strangers,
        wait_for_commit=sip.durability == "commit",
        max_waiting=sip.max_waiting,
    )
