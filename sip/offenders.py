"""Who guesses passwords: when to stop answering with challenges, and when to stop answering (RFC 3261 26.1).

Only wrong answers to fresh nonces count, never challenges: a phone that was merely asked has done nothing. A trusted
source is never silenced.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from sip.trust import TrustedSources

FORBID_AFTER: Final = 3  # wrong answers in a row by one source for one AOR; phones stop at a 403, not at a 401
SILENCE_AFTER: Final = 10  # wrong answers of one source before it is not answered any more
SILENCE: Final = 30.0  # seconds of the first silence; each further wrong answer doubles it
MAX_SILENCE: Final = 3600.0  # seconds
FORGET_AFTER: Final = 7200.0  # seconds without a wrong answer after which a source is as new
MAX_TRACKED: Final = 65_536  # sources, and pairs of source and AOR, of which each costs about 300 bytes


@dataclass(slots=True)
class _Record:
    wrong: int = 0
    last: float = 0.0
    silent_until: float = 0.0


_Records: TypeAlias = "OrderedDict[tuple[str, str], _Record]"
"""What was not used for longest first."""


class Offenders:
    """Wrong answers by source, and by source and AOR. A source is an address without its port."""

    __slots__ = ("_by_aor", "_by_source", "_trusted")

    def __init__(self, trusted: TrustedSources) -> None:
        self._by_aor: _Records = OrderedDict()
        self._by_source: _Records = OrderedDict()
        self._trusted = trusted

    def __len__(self) -> int:
        return len(self._by_aor) + len(self._by_source)

    def wrong(self, source: str, aor: str, now: float) -> bool:
        """Count a wrong answer; returns whether it is to be refused for good (403) rather than challenged again."""
        pair = self._count(self._by_aor, (source, aor), now)
        if not self._trusted.has(source, now):
            whole = self._count(self._by_source, (source, ""), now)
            if whole.wrong >= SILENCE_AFTER:
                whole.silent_until = now + min(MAX_SILENCE, SILENCE * 2.0 ** min(20, whole.wrong - SILENCE_AFTER))
        return pair.wrong >= FORBID_AFTER

    def right(self, source: str, aor: str) -> None:
        """Forgive what went wrong before a right answer."""
        if self._by_aor or self._by_source:
            self._by_aor.pop((source, aor), None)
            self._by_source.pop((source, ""), None)

    def is_silenced(self, source: str, now: float) -> bool:
        """Return whether the source gets no answer for now."""
        record = self._by_source.get((source, "")) if self._by_source else None
        return record is not None and now < record.silent_until

    def _count(self, records: _Records, key: tuple[str, str], now: float) -> _Record:
        record = records.get(key)
        if record is None or now - record.last > FORGET_AFTER:
            record = _Record()
        record.wrong += 1
        record.last = now
        records[key] = record
        records.move_to_end(key)
        if len(records) > MAX_TRACKED:
            records.popitem(last=False)
        return record
