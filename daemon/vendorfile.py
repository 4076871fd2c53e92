"""The vendor table of this host: the one that is shipped, with the operator's rows over it."""

from __future__ import annotations

from pathlib import Path

from config.loader import ConfigError
from config.settings import Fault
from sip.vendorfile import BadVendorTable
from sip.vendors import VendorTable

MAX_FILE = 1_000_000  # bytes; the table that is shipped has some 12 000


def load_vendors(file: str) -> VendorTable:
    """Return the table, with the rows of the file where one is named. Raises ConfigError with every fault."""
    shipped = VendorTable.shipped()
    if not file:
        return shipped
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(MAX_FILE + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Fault("vendors.file", str(error))]) from error
    if len(content) > MAX_FILE:
        raise ConfigError([Fault("vendors.file", f"{file} is longer than {MAX_FILE} bytes")])
    try:
        return shipped.overridden_by(text)
    except BadVendorTable as error:
        raise ConfigError([Fault(f"vendors.file: {fault.key}", fault.message) for fault in error.faults]) from error
