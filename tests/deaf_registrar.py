"""The whole registrar without sockets, database or clock: messages are put in, and what it would send is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import Document, Kind
from daemon.calls import LiveCalls
from daemon.directory import Directory
from daemon.dispatch import Dispatcher
from daemon.presence import Presence
from daemon.registration import Registration, RegistrationPolicy
from sip.errors import ParseError
from sip.flow import Address, Flow, Transport
from sip.io.endpoint import Endpoint
from sip.io.policy import EndpointPolicy
from sip.io.turn import this_turn
from sip.nonce import NonceSigner
from sip.registrar import RegistrarPolicy
from sip.stream import StreamFramer
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.location import Binding, BindingChanges

REALM = "office.example"
SERVER = Address("192.0.2.1", 5060)
STRANGER = Flow.between(Transport.UDP, SERVER, Address("198.51.100.7", 5060))
DEVICE = Flow.between(Transport.UDP, SERVER, Address("192.0.2.10", 5060))
"""A device's own address, from where nothing needs to be proven."""
CONNECTION = Flow.between(Transport.TCP, SERVER, Address("192.0.2.10", 40_000), 1)
WALL = 1_700_000_000.0


class DeafRegistrar(Endpoint):
    """Keeps what it would send. Make it within a running event loop."""

    def __init__(self, *, drop_strangers: bool = False) -> None:
        dispatcher = Dispatcher()
        super().__init__(dispatcher, EndpointPolicy(rate_per_source=0.0))
        self.sent: list[bytes] = []
        self.turn = this_turn()
        directory = Directory()
        account = {"realm": REALM}
        directory.changed(None, Document(Kind.ACCOUNT, "a", "a", "1-a", 0, 0, account, {"pvt_superduper_admin": True}))
        for name, method in (("desk", {"method": "ip", "ip": DEVICE.remote.host}), ("guest", {})):
            sip = {"username": name, "password": "correct-horse", **method}
            directory.changed(None, Document(Kind.DEVICE, "a", name, "1-a", 0, 0, {"sip": sip}, {}))
        self.presence = Presence(_Forgetful(), directory)  # type: ignore[arg-type]  # of the store it needs only this
        self.registration = dispatcher.registrar = Registration(
            self,
            directory,
            self.presence,
            RegistrationPolicy(RegistrarPolicy(), drop_strangers=drop_strangers),
            vendors=VendorTable.shipped(),
            signer=NonceSigner(b"k" * 32, 60.0),
            wall=lambda: WALL,
        )
        dispatcher.dialogs = LiveCalls(self)
        dispatcher.presence = self.presence

    def answers(self, wire: bytes, flow: Flow) -> list[bytes]:
        """Receive the message, and return what is sent at once."""
        self.sent.clear()
        self.receive(wire, flow)
        self._settle()
        return list(self.sent)

    def take_stream(self, *segments: bytes) -> None:
        """Receive what a connection brings, until it would be closed."""
        framer = StreamFramer()
        try:
            for segment in segments:
                cut = framer.feed(segment)
                while cut:
                    for message in cut:
                        self.receive(message, CONNECTION)
                        self._settle()
                    cut = framer.feed(b"")
        except ParseError:
            pass

    @property
    def faults(self) -> int:
        """How many messages met a fault of ours."""
        return self.transactions.dropped["our fault"]

    def _settle(self) -> None:
        """Do at once what would be done in the next turns of the loop, and fail where that fails."""
        self._handle_parsed()
        while self.turn._lines:
            self.turn._work()

    def _send(self, data: bytes, flow: Flow, to: Address | None = None) -> None:
        self.sent.append(data)


class _Forgetful:
    """A store for which all is durable at once."""

    waiting = 0

    def save(self, changes: BindingChanges, done: Callable[[Exception | None], None]) -> None:
        done(None)

    async def load(self) -> list[Binding]:
        return []
