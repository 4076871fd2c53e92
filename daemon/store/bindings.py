"""The bindings of the location service in the database: `sip.location.BindingStore`.

Everything that changed while a transaction ran goes into the next one, in one statement, so that a REGISTER costs a
fraction of an fsync. The table in memory uses a clock that never jumps; here the times are Unix seconds.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import structlog

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

log = structlog.get_logger(__name__)

MAX_PENDING = 200_000  # changes that wait to be written: twice all the phones of the largest system we test
MAX_BATCH = 4_000  # calls of `save` in one job: to sort them holds the interpreter for two milliseconds
LATER = 1.0  # seconds that changes wait for others where nobody waits for them: what a power cut may take
_TRANSPORTS: Final = {transport.value: transport for transport in Transport}
_TRANSPORT_NAMES: Final = {transport: name for name, transport in _TRANSPORTS.items()}
_PATH_SEPARATOR = "\n"  # in no header value


def _put_rows(count: int) -> str:
    """Return the statement that writes so many bindings.

    Not INSERT OR REPLACE, which takes the row out and puts it in again: with 20,000 bindings one costs the writer
    18.4 us rather than 19.0, with 100,000 22 rather than 23.5.
    """
    keys = ("aor", "contact", "instance", "reg_id")
    facts = (
        *("account_id", "device_id", "transport", "local_host", "local_port", "remote_host", "remote_port"),
        *("path", "q", "call_id", "cseq", "expires_at", "granted", "first_registered", "registered_at", "user_agent"),
    )
    rows = ", ".join([f"({', '.join('?' * len(keys + facts))})"] * count)
    updates = ", ".join(f"{name} = excluded.{name}" for name in facts)
    return (
        f"INSERT INTO bindings ({', '.join(keys + facts)}) VALUES {rows} "  # noqa: S608 - the names above
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {updates}"
    )


_PUT: Final = tuple((count, _put_rows(count)) for count in (64, 32, 16, 8, 4, 2, 1))
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
    saved: int = 0
    """Calls of `save`, also of those who do not wait."""
    submitted: bool = False


class StoredBindings:
    """Implements `sip.location.BindingStore`, and gives back at start what it was given."""

    def __init__(self, database: Database, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._database = database
        self._wall = wall
        self._monotonic = monotonic
        self._open = _Batch()
        self._alarm: asyncio.TimerHandle | None = None
        self._settled = this_turn().line(self._tell)
        self.waiting = 0
        """How many calls of `save` are not written, or their callers not told yet."""

    def save(self, changes: BindingChanges, done: Done | None = None) -> None:
        """Queue the changes and call `done` once they are durable, or with why they are not. Never waits.

        Those for whom nobody waits are written within LATER seconds, with all that come until then. A later change of a
        binding overtakes an earlier one that is not written yet. After a failure nothing of the batch is stored.
        """
        if self.waiting >= MAX_PENDING:
            self._refuse(done, StoreUnavailable("too many bindings wait to be written"))
            return
        if self._open.saved >= MAX_BATCH:
            self._submit()
            self._open = _Batch()
        batch = self._open
        for binding in changes.removed:
            batch.changes[binding.key] = None
        for binding in changes.put:
            batch.changes[binding.key] = binding
        batch.saved += 1
        self.waiting += 1
        if done is not None:
            batch.waiting.append(done)
            if not batch.submitted:
                self._submit()
        elif self._alarm is None and not batch.submitted:
            self._alarm = asyncio.get_running_loop().call_later(LATER, self._submit)

    def close(self) -> None:
        """Have all that is queued written, which it is before the database closes."""
        self._submit()

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

    def _submit(self) -> None:
        """Have the open batch written; until that begins, what comes goes along."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        batch = self._open
        if batch.saved and not batch.submitted:
            batch.submitted = True
            future = self._database.submit(partial(self._write, batch), taken=partial(self._close, batch))
            future.add_done_callback(partial(self._settle, batch))

    def _close(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = _Batch()

    def _write(self, batch: _Batch, connection: sqlite3.Connection) -> None:
        # In the order of the table, whose pages are then written once for all that is on them.
        changes = sorted(batch.changes.items(), key=_aor_of)
        put = [(key, binding) for key, binding in changes if binding is not None]
        removed = [_key_row(key) for key, binding in changes if binding is None]
        _put(put, self._wall() - self._monotonic(), connection)
        if removed:
            connection.executemany(_REMOVE, removed)

    def _settle(self, batch: _Batch, future: asyncio.Future[None]) -> None:
        self._close(batch)  # it may have failed before it was begun
        error = future.exception()
        reason = error if isinstance(error, Exception) else None
        for done in batch.waiting:
            self._settled.put((done, reason))
        nobodys = batch.saved - len(batch.waiting)
        self.waiting -= nobodys
        if nobodys and reason is not None:
            _log_lost(reason, nobodys)

    def _refuse(self, done: Done | None, reason: StoreUnavailable) -> None:
        if done is not None:
            asyncio.get_running_loop().call_soon(done, reason)
        else:
            _log_lost(reason, 1)

    def _tell(self, settled: tuple[Done, Exception | None]) -> None:
        done, reason = settled
        self.waiting -= 1
        done(reason)


def _log_lost(reason: Exception, changes: int) -> None:
    """Tell of changes that are not stored where nobody waits to be told."""
    log.warning("registration.not_stored", reason=str(reason), changes=changes)


def _execute(sql: str, parameters: Sequence[object], connection: sqlite3.Connection) -> None:
    connection.execute(sql, parameters)


def _execute_many(sql: str, rows: Sequence[Sequence[object]], connection: sqlite3.Connection) -> None:
    connection.executemany(sql, rows)


def _aor_of(change: tuple[Key, object]) -> Aor:
    return change[0][0]


def _put(put: Sequence[tuple[Key, Binding]], shift: float, connection: sqlite3.Connection) -> None:
    """Write the bindings, many in a statement: for each the event loop has to give this thread its lock anew."""
    begin = 0
    for count, statement in _PUT:
        while len(put) - begin >= count:
            rows = [_row_of(key, binding, shift) for key, binding in put[begin : begin + count]]
            connection.execute(statement, [*chain.from_iterable(rows)])
            begin += count


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
