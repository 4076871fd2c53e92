"""The vendor table: which family of phones a User-Agent belongs to."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from sip.vendorfile import UNKNOWN, build_vendors, read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sip.vendor import Vendor
    from sip.vendorfile import Row

MAX_USER_AGENT: Final = 256  # characters that are looked at; the longest seen from a phone is under 120
MEMO_ENTRIES: Final = 4096  # User-Agents whose vendor is kept; a fleet has some dozens


class VendorTable:
    """All families, in the order in which a User-Agent is held against them."""

    __slots__ = ("_memoised", "_rows", "unknown", "vendors")

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.vendors: tuple[Vendor, ...] = ()
        self._take(rows)

    @classmethod
    def parse(cls, text: str) -> VendorTable:
        """Read a whole table out of TOML. Raises BadVendorTable with every fault."""
        return cls(read_rows(text))

    @classmethod
    def shipped(cls) -> VendorTable:
        """Return the table that comes with the package."""
        return cls.parse(files("sip").joinpath("vendors.toml").read_text("utf-8"))

    def overridden_by(self, text: str) -> VendorTable:
        """Return the table with a user's rows over it. Raises BadVendorTable with every fault.

        The keys of a row take the place of those of a row with that name; new rows are looked at before all others.
        """
        theirs = read_rows(text)
        rows: dict[str, Row] = {name: row for name, row in theirs.items() if name not in self._rows}
        rows |= {name: {**row, **theirs.get(name, {})} for name, row in self._rows.items()}
        return VendorTable(rows)

    def become(self, other: VendorTable) -> None:
        """Have the rows of another table from now on, for all who hold this one."""
        self._take(other._rows)

    def match(self, user_agent: str) -> Vendor:
        """Return the family of a User-Agent: the row for unknown phones where there is no other."""
        return self._memoised(user_agent[:MAX_USER_AGENT])

    def named(self, name: str) -> Vendor | None:
        """Return the row of this name."""
        return next((vendor for vendor in self.vendors if vendor.name == name), None)

    def _take(self, rows: Mapping[str, Row]) -> None:
        self._rows = dict(rows)
        self.vendors = build_vendors(rows)
        self.unknown = next(vendor for vendor in self.vendors if vendor.name == UNKNOWN)
        self._memoised = lru_cache(maxsize=MEMO_ENTRIES)(self._find)

    def _find(self, user_agent: str) -> Vendor:
        for vendor in self.vendors:
            if vendor.user_agent is not None and vendor.user_agent.search(user_agent):
                return vendor
        return self.unknown
