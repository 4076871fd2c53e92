"""The calls that are up, as the API sees and ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import CannotTransfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from api.ports import Leg
    from daemon.call import Call
    from daemon.calls import LiveCalls


class LiveChannels:
    """Implements `api.ports.Channels`."""

    def __init__(self, calls: LiveCalls) -> None:
        self._calls = calls

    def list(self, account_id: str) -> Sequence[Leg]:
        """Return the account's legs that are up, the oldest first."""
        return sorted((leg for _, leg in self._legs(account_id)), key=lambda leg: leg.began)

    def find(self, account_id: str, call_id: str) -> Leg | None:
        """Return one of them."""
        return next((leg for _, leg in self._legs(account_id) if leg.call_id == call_id), None)

    def hang_up(self, account_id: str, call_id: str) -> None:
        """End the call that the leg belongs to, if it is up."""
        call = self._call(account_id, call_id)
        if call is not None:
            call.hang_up()

    def transfer(self, account_id: str, call_id: str, number: str) -> None:
        """Let another number take the place of the one that the device talks to. Raises CannotTransfer."""
        call = self._call(account_id, call_id)
        if call is None or not call.transfer(number):
            raise CannotTransfer("the call is not connected, or its phones are just agreeing on something")

    def _call(self, account_id: str, call_id: str) -> Call | None:
        return next((call for call, leg in self._legs(account_id) if leg.call_id == call_id), None)

    def _legs(self, account_id: str) -> Iterator[tuple[Call, Leg]]:
        for call in self._calls.of_account(account_id):
            yield from ((call, leg) for leg in call.record.legs if leg.ended is None)
