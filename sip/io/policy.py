"""What the endpoint allows its peers, as the operator chose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sip.io.tls import TlsFiles
from sip.patience import StreamLimits

if TYPE_CHECKING:
    from sip.flow import Address


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """The defaults are those of the settings."""

    tls: TlsFiles = field(default_factory=TlsFiles)
    streams: StreamLimits = field(default_factory=StreamLimits)
    rate_per_source: float = 100.0
    """Messages a second of one source without good credentials; 0 is no limit."""
    rate_burst: int = 1000
    """Messages that such a source may send at once."""
    max_connections: int = 20_000
    max_connections_per_source: int = 2_000
    nameservers: tuple[Address, ...] = ()
    """DNS servers; none means those of the host."""
