"""What a port refuses."""

from __future__ import annotations


class PortError(Exception):
    """The root of what a port refuses."""


class StoreUnavailable(PortError):
    """The database cannot be read or written now (full, locked, corrupt); what is in memory is still served."""
