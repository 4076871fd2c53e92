"""The bindings of the location service in the database: `sip.location.BindingStore`.

Everything that changed while a transaction ran goes into the next one, in one statement, so that a REGISTER costs a
fraction of an fsync. The table in memory uses a clock that never jumps; here the times are Unix seconds.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from api.ports import StoreUnavailable
from daemon.store.pages import BINDINGS, rows_of
from sip.flow import Address, Flow, Transport
from sip.io.turn import this_turn
from sip.location import Binding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from daemon.store.database import Database
    from sip.aor import Aor
    from sip.location import BindingChanges

    Done: TypeAlias = Callable[[Exception | None], None]
    Key: TypeAlias = tuple[Aor, str, str, int]

MAX_PENDING = 200_000  # changes that wait to be written: twice all the phones of the largest system we test
MAX_BATCH = 500  # changes in a job: making their rows holds the interpreter for a millisecond or two
_TRANSPORTS: Final = {transport.value: transport for transport in Transport}
_TRANSPORT_NAMES: Final = {transport: name for name, transport in _TRANSPORTS.items()}
_PATH_SEPARATOR = "\n"  # in no header value


# Not INSERT OR REPLACE, which takes the row out and puts it in again: with 20,000 bindings one costs the writer 18.4 us
# rather than 19.0, with 100,000 22 rather than 23.5.
_PUT = """
INSERT INTO bindings (
    aor, contact, instance, reg_id, account_id, device_id, transport, local_host, local_port, remote_host, remote_port,
    path, q, call_id, cseq, expires_at, granted, first_registered, registered_at, user_agent
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (aor, contact, instance, reg_id) DO UPDATE SET
    account_id = excluded.account_id, device_id = excluded.device_id, transport = excluded.transport,
    local_host = excluded.local_host, local_port = excluded.local_port,
    remote_host = excluded.remote_host, remote_port = excluded.remote_port,
    path = excluded.path, q = excluded.q, call_id = excluded.call_id, cseq = excluded.cseq,
    expires_at = excluded.expires_at, granted = excluded.granted, first_registered = excluded.first_registered,
    registered_at = excluded.registered_at, user_agent = excluded.user_agent
"""
_REMOVE = "DELETE FROM bindings WHERE aor = ? AND contact = ? AND instance = ? AND reg_id = ?"
_REMOVE_OVER = "DELETE FROM bindings WHERE expires_at <= ?"


class Owner(Protocol):
    """Who a binding belongs to, with the texts that are to be kept once."""

    @property
    def aor(self) -> Aor:
        """Its address-of-record."""
        ...

    @property
    def account_id(self) -> str:
        """Its account."""
        ...

    @property
    def device_id(self) -> str:
        """Its own id."""
        ...


@dataclass(slots=True)
class _Batch:
    """What one transaction will write: the last change of each key, and who waits for it."""

    changes: dict[Key, Binding | None] = field(default_factory=dict)
    waiting: list[Done] = field(default_factory=list)


class StoredBindings:
    """Implements `sip.location.BindingStore`, and gives back at start what it was given."""

    def __init__(self, database: Database, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._database = database
        self._wall = wall
        self._monotonic = monotonic
        self._open: _Batch | None = None
        self._settled = this_turn().line(self._tell)
        self.waiting = 0
        """How many callers of `save` have not been told yet."""

    def save(self, changes: BindingChanges, done: Done) -> None:
        """Queue the changes and call `done` once they are durable, or with why they are not. Never waits.

        A later change of a binding overtakes an earlier one that is not written yet. After a failure nothing of the
        batch is stored.
        """
        batch = self._open
        if batch is None or len(batch.waiting) >= MAX_BATCH:
            batch = self._open = _Batch()
            future = self._database.submit(partial(self._write, batch), taken=partial(self._close, batch))
            future.add_done_callback(partial(self._settle, batch))
        if self.waiting >= MAX_PENDING:
            asyncio.get_running_loop().call_soon(done, StoreUnavailable("too many bindings wait to be written"))
            return
        for binding in changes.removed:
            batch.changes[binding.key] = None
        for binding in changes.put:
            batch.changes[binding.key] = binding
        batch.waiting.append(done)
        self.waiting += 1

    async def load(
        self, owner_of: Callable[[str, str], Owner | None], take: Callable[[Sequence[Binding]], None]
    ) -> None:
        """Hand the bindings that are not over to `take`, page by page, and forget the others.

        Those are forgotten too that nobody owns any more: `owner_of` is asked with AOR and device id. The flows have no
        connection: those of another process are gone.
        """
        shift = self._wall() - self._monotonic()
        await self._database.write(partial(_execute, _REMOVE_OVER, (self._wall(),)))
        orphans: list[tuple[object, ...]] = []

        def read(page: bytes) -> None:
            found: list[Binding] = []
            for row in rows_of(page):
                owner = owner_of(row[0], row[4])
                if owner is not None:
                    found.append(_binding_of(row, owner, shift))
                else:
                    orphans.append((*map(packed, row[:3]), row[3]))
            take(found)

        await self._database.pages(BINDINGS, read)
        if orphans:
            await self._database.write(partial(_execute_many, _REMOVE, orphans))

    def _close(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    def _write(self, batch: _Batch, connection: sqlite3.Connection) -> None:
        shift = self._wall() - self._monotonic()
        rows = [_row_of(key, binding, shift) for key, binding in batch.changes.items() if binding is not None]
        removed = [_key_row(key) for key, binding in batch.changes.items() if binding is None]
        if rows:
            connection.executemany(_PUT, rows)
        if removed:
            connection.executemany(_REMOVE, removed)

    def _settle(self, batch: _Batch, future: asyncio.Future[None]) -> None:
        self._close(batch)  # it may have failed before it was begun
        error = future.exception()
        reason = error if isinstance(error, Exception) else None
        for done in batch.waiting:
            self._settled.put((done, reason))

    def _tell(self, settled: tuple[Done, Exception | None]) -> None:
        done, reason = settled
        self.waiting -= 1
        done(reason)


def _execute(sql: str, parameters: Sequence[object], connection: sqlite3.Connection) -> None:
    connection.execute(sql, parameters)


def _execute_many(sql: str, rows: Sequence[Sequence[object]], connection: sqlite3.Connection) -> None:
    connection.executemany(sql, rows)


def _row_of(key: Key, binding: Binding, shift: float) -> tuple[object, ...]:
    transport, local, remote_host, remote_port, _ = binding.flow
    return (
        *_key_row(key),
        binding.account_id,
        binding.device_id,
        _TRANSPORT_NAMES[transport],
        *local,
        remote_host,
        remote_port,
        packed(_PATH_SEPARATOR.join(binding.path)),
        binding.q,
        packed(binding.call_id),
        binding.cseq,
        binding.expires_at + shift,
        binding.granted,
        binding.first_registered + shift,
        binding.registered_at + shift,
        packed(binding.user_agent),
    )


def _key_row(key: Key) -> tuple[object, ...]:
    aor, contact, instance, reg_id = key
    return packed(aor), packed(contact), packed(instance), reg_id


def _binding_of(row: Sequence[Any], owner: Owner, shift: float) -> Binding:
    (_, contact, instance, reg_id, _, transport, local_host, local_port, remote_host, remote_port,
     path, q, call_id, cseq, expires_at, granted, first, last, user_agent) = row  # fmt: skip
    registered_at = last - shift
    return Binding(
        owner.aor,
        owner.account_id,
        owner.device_id,
        contact,
        Flow(_TRANSPORTS[transport], _local_address(local_host, local_port), remote_host, remote_port),
        call_id,
        cseq,
        expires_at - shift,
        granted,
        registered_at if first == last else first - shift,
        registered_at,
        sys.intern(user_agent),
        tuple(path.split(_PATH_SEPARATOR)) if path else (),
        instance,
        reg_id,
        1.0 if q == 1.0 else q,  # nearly always, and so one object
    )


@lru_cache(maxsize=64)  # our own addresses: one object for all the bindings that came in there
def _local_address(host: str, port: int) -> Address:
    return Address(host, port)


def packed(text: str) -> str | bytes:
    """Return what a phone sent as SQLite can hold it: its text is UTF-8, a header may be anything."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass")


def unpacked(value: str | bytes) -> str:
    """Return what `packed` was given."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")
