"""TLS: the contexts of our listeners and of our own connections, and their renewal while we run (RFC 3261 26, 5922)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sip.errors import TransportFailed

if TYPE_CHECKING:
    from datetime import datetime

TICKETS: Final = 1  # to resume with, for each connection: a phone has one connection, and a ticket costs 20 us
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsUnusable(OSError):
    """TLS cannot be served or used as it is configured; the text says why to the operator."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What TLS is made from."""

    certificate: str = ""
    """PEM file: our certificate, then those between it and the CA's."""
    key: str = ""
    """PEM file without a passphrase; empty where it is in the certificate's file."""
    ca_file: str = ""
    """PEM file of the only CAs that peers' certificates may come from; empty for those of the host."""
    minimum_version: str = "1.2"
    ciphers: str = ""
    """OpenSSL's cipher list for TLS 1.2; empty for Python's own."""


class Tls:
    """The contexts, made when they are first needed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._server: ssl.SSLContext | None = None
        self._client: ssl.SSLContext | None = None

    def server(self) -> ssl.SSLContext:
        """Return the context of all listeners. Raises TlsUnusable."""
        if self._server is None:
            self._server = _server_context(self._files)
        return self._server

    def client(self) -> ssl.SSLContext:
        """Return the context of our own connections: the peer's name and certificate are verified.

        Raises TransportFailed.
        """
        if self._client is None:
            try:
                self._client = ssl.create_default_context(cafile=self._files.ca_file or None)
            except OSError as fault:
                raise TransportFailed(f"{self._files.ca_file}: {_reason(fault)}") from fault
            self._client.minimum_version = VERSIONS[self._files.minimum_version]
        return self._client

    def reload(self, files: TlsFiles) -> None:
        """Take new files for connections from now on; open ones stay as they are.

        Raises TlsUnusable, and leaves everything as it was, where they do not fit together.
        """
        if self._server is not None:
            _server_context(files)  # a trial, for what fails half-way would leave the listeners without a key
            _prepare(self._server, files)
        self._files = files
        self._client = None

    def expires(self) -> datetime:
        """Return when our certificate is over. Raises TlsUnusable."""
        from cryptography import x509  # a twentieth of the start of a daemon that has no certificate

        try:
            return x509.load_pem_x509_certificate(Path(self._files.certificate).read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as fault:
            raise TlsUnusable(f"{self._files.certificate}: {_reason(fault)}") from fault


def _server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = TICKETS
    context.options |= ssl.OP_NO_RENEGOTIATION  # a second handshake costs us much and the peer a few bytes
    _prepare(context, files)
    return context


def _prepare(context: ssl.SSLContext, files: TlsFiles) -> None:
    if not files.certificate:
        raise TlsUnusable("TLS needs a certificate: tls.certificate is empty")
    try:
        context.minimum_version = VERSIONS[files.minimum_version]
        if files.ciphers:
            context.set_ciphers(files.ciphers)
        context.load_cert_chain(files.certificate, files.key or None, password=_refuse_passphrase)
    except (OSError, ValueError) as fault:
        names = " and ".join(filter(None, (files.certificate, files.key)))
        raise TlsUnusable(f"{names}: {_reason(fault)}") from fault


def _refuse_passphrase() -> str:
    raise ValueError("the key has a passphrase; it is needed without one")


def _reason(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLError):
        return _REASONS.get(fault.reason, fault.reason or str(fault))
    if isinstance(fault, OSError):
        return fault.strerror or str(fault)
    return str(fault)


_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
    "NO_CIPHER_MATCH": "no cipher of tls.ciphers is known",
}
