"""Certificates: their dates, whether the key is theirs, and who may read it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from daemon.doctor.finding import Finding, fault, good, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from config.settings import TlsSettings

EXPIRY_WARNING: Final = 21  # days, as the daemon warns in its log
OTHERS: Final = 0o007


def check_certificates(tls: TlsSettings, now: datetime) -> Iterator[Finding]:
    """Look at what TLS is made from."""
    if tls.ca_file:
        yield from _check_dates(Path(tls.ca_file), "tls.ca_file", now)
    if not tls.certificate:
        yield good("tls", "no certificate is configured, so neither TLS nor wss is served")
        return
    certificate, key = Path(tls.certificate), Path(tls.key or tls.certificate)
    yield from _check_dates(certificate, "tls.certificate", now)
    yield from _check_pair(certificate, key)


def _check_dates(file: Path, key: str, now: datetime) -> Iterator[Finding]:
    try:
        chain = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        yield fault(
            "tls", f"{file} cannot be read: {error.strerror}", f"see {key}, and whether the service may read it"
        )
        return
    except ValueError as error:
        yield fault("tls", f"{file} has no certificate: {error}", f"{key} names a PEM file")
        return
    for each in chain:
        name = each.subject.rfc4514_string() or "a certificate without a name"
        days = (each.not_valid_after_utc - now).days
        if now > each.not_valid_after_utc:
            yield fault("tls", f"{file}: {name} is over since {-days} days", "renew it, then  systemctl reload roost")
        elif now < each.not_valid_before_utc:
            yield fault("tls", f"{file}: {name} is not valid yet", "see the clock, or wait")
        elif days < EXPIRY_WARNING:
            yield warning("tls", f"{file}: {name} is over in {days} days", "renew it, then  systemctl reload roost")
        else:
            yield good("tls", f"{file}: {name} is valid for {days} days")
    if key == "tls.certificate" and len(chain) == 1 and chain[0].issuer == chain[0].subject:
        yield warning("tls", f"{file} is self-signed", "a phone takes it only where it is told to trust it")


def _check_pair(certificate: Path, key: Path) -> Iterator[Finding]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_refuse)
    except (OSError, ValueError) as error:
        yield fault("tls", f"{certificate} and {key} do not fit together: {error}", "see tls.certificate and tls.key")
        return
    yield good("tls", f"{key} is the key of {certificate}")
    if key.stat().st_mode & OTHERS:
        yield warning("modes", f"{key} can be read by everybody", f"chmod 640 {key}")


def _refuse() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise ValueError("the key has a passphrase, which nobody could type when the service starts")
