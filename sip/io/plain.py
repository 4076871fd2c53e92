"""TCP connections as transports, of which a turn of the event loop reads a batch, as of UDP's datagrams.

The loop's own transports read all that has come in one turn: 10,000 times where 10,000 connections end together. Here
the loop waits for one file descriptor, the kernel's list of those that have something to say. A batch of them is asked
for in a turn, and the kernel goes round among them, so that each is heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import socket

BATCH: Final = 32  # connections that are read in one turn of the loop: a millisecond where each has a message
READ: Final = 65_536  # bytes of a connection that are read in one turn: the largest message
HIGH: Final = 65_536  # bytes that wait for a peer to read, beyond which the protocol is paused
LOW_PART: Final = 4  # it goes on when no more than this part of them waits
BROKEN: Final = select.EPOLLHUP | select.EPOLLERR


class PlainStream(asyncio.Transport):
    """A connected socket, which it owns, as a transport; nothing is read before `begin`.

    The end of what the peer sends is the end of the connection. Raises OSError where the kernel has no room for it.
    """

    __slots__ = (
        *("_closing", "_events", "_file", "_high", "_low", "_lost", "_paused", "_poll", "_protocol", "_reading"),
        *("_socket", "_unsent"),
    )

    def __init__(self, stream: socket.socket) -> None:
        super().__init__()
        self._socket = stream
        self._file = stream.fileno()
        self._poll = _this_poll()
        self._protocol: asyncio.Protocol | None = None
        self._unsent: bytearray | None = None  # most have nothing to wait for, and hold no buffer
        self._high, self._low = HIGH, HIGH // LOW_PART
        self._reading = True
        self._paused = False  # whether the protocol was told to write nothing
        self._closing = self._lost = False
        self._events = select.EPOLLIN
        self._poll.add(self._file, self._events, self)

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Hand to this protocol what comes from now on."""
        self._protocol = protocol
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, and keep what the kernel does not take."""
        if self._closing:
            return
        if self._unsent is None:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as failure:
                self._end(failure)
                return
            if sent == len(data):
                return
            self._unsent = bytearray(memoryview(data)[sent:])
            self._adjust()
        else:
            self._unsent += data
        if len(self._unsent) > self._high and not self._paused:
            self._paused = True
            cast("asyncio.Protocol", self._protocol).pause_writing()

    def close(self) -> None:
        """Read nothing more, and close when all is sent."""
        if self._closing:
            return
        self._closing = True
        if self._unsent is None:
            self._end(None)
        else:
            self._adjust()

    def abort(self) -> None:
        """Close at once."""
        self._end(None)

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any more."""
        return self._closing

    def pause_reading(self) -> None:
        """Leave what comes with the kernel."""
        self._reading = False
        self._adjust()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading = True
        self._adjust()

    def is_reading(self) -> bool:
        """Return whether what comes is read."""
        return self._reading and not self._closing

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the peer to read."""
        return 0 if self._unsent is None else len(self._unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait before writing is paused, and until when."""
        self._high = HIGH if high is None else high
        self._low = self._high // LOW_PART if low is None else low

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket, or one of its addresses."""
        if name == "socket":
            return self._socket
        with contextlib.suppress(OSError):  # gone already
            if name == "peername":
                return self._socket.getpeername()
            if name == "sockname":
                return self._socket.getsockname()
        return default

    def on_events(self, events: int) -> None:
        """Do what the kernel is ready for."""
        if self._unsent is not None and events & (select.EPOLLOUT | BROKEN):
            self._send_on()
        if not self.is_reading():
            if events & BROKEN:  # told again and again for as long as we ask for anything
                self._end(None)
        elif events & (select.EPOLLIN | BROKEN):
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as failure:
            self._end(failure)
            return
        if not data:
            self.close()
            return
        try:
            cast("asyncio.Protocol", self._protocol).data_received(data)
        except BaseException:
            self.abort()  # nobody knows what it has made of the stream; the loop logs why
            raise

    def _send_on(self) -> None:
        unsent = cast("bytearray", self._unsent)
        try:
            del unsent[: self._socket.send(unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as failure:
            self._end(failure)
            return
        if not unsent:
            self._unsent = None
            if self._closing:
                self._end(None)
                return
            self._adjust()
        if self._paused and len(unsent) <= self._low:
            self._paused = False
            cast("asyncio.Protocol", self._protocol).resume_writing()

    def _adjust(self) -> None:
        """Ask the kernel for what is wanted now."""
        events = 0
        if self._reading and not self._closing:
            events |= select.EPOLLIN
        if self._unsent is not None:
            events |= select.EPOLLOUT
        if events != self._events and not self._lost:
            self._poll.change(self._file, self._events, events, self)
            self._events = events

    def _end(self, failure: OSError | None) -> None:
        if self._lost:
            return
        self._closing = self._lost = True
        self._unsent = None
        if self._events:
            self._poll.change(self._file, self._events, 0, self)
            self._events = 0
        asyncio.get_running_loop().call_soon(self._tell_end, failure)

    def _tell_end(self, failure: OSError | None) -> None:
        protocol, self._protocol = self._protocol, None
        try:
            if protocol is not None:
                protocol.connection_lost(failure)
        finally:
            self._socket.close()


class _Poll:
    """What the kernel is asked about, and whom each answer is for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._owners: dict[int, PlainStream] = {}
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    def add(self, file: int, events: int, owner: PlainStream) -> None:
        self._epoll.register(file, events)
        self._owners[file] = owner

    def change(self, file: int, before: int, events: int, owner: PlainStream) -> None:
        """Ask for other events of a file; where there are none, it is not asked about at all, not even for its end."""
        if not events:
            self._epoll.unregister(file)
            del self._owners[file]
        elif before:
            self._epoll.modify(file, events)
        else:
            self.add(file, events, owner)

    def _on_ready(self) -> None:
        owners = self._owners
        for file, events in self._epoll.poll(0, BATCH):
            owner = owners.get(file)
            if owner is not None:  # which one before it in the batch may have ended
                owner.on_events(events)


_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Poll] = WeakKeyDictionary()


def _this_poll() -> _Poll:
    """Return the running event loop's."""
    loop = asyncio.get_running_loop()
    poll = _polls.get(loop)
    if poll is None:
        poll = _polls[loop] = _Poll(loop)
    return poll
