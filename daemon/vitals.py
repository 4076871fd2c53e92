"""Whether the daemon really works: it asks itself by SIP, writes to its store, and looks at its listeners.

Readiness and systemd's watchdog go by it, so it must find what hangs, and must not take a flood for that.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from api.ports import PortError
from sip.errors import SipError
from sip.flow import Address, Flow, Transport
from sip.io.client import ask
from sip.io.endpoint import new_token
from sip.io.host import is_unspecified
from sip.message import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.store import StoredValues
    from sip.io.endpoint import Endpoint

LIMIT: Final = 5.0  # seconds that a part has to show that it works
FRESH: Final = 1.0  # seconds for which a look is as good as a new one, however often somebody asks
ALIVE_KEY: Final = "alive"


class Vitals:
    """Looks after the parts. `check` never raises."""

    def __init__(self, endpoint: Endpoint, values: StoredValues, *, limit: float = LIMIT, fresh: float = FRESH) -> None:
        self._endpoint = endpoint
        self._values = values
        self._limit = limit
        self._fresh = fresh
        self._faults: Mapping[str, str] = {}
        self._looked = float("-inf")
        self._look: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def check(self) -> Mapping[str, str]:
        """Return what does not work, with a reason each: `sip`, `store`. Empty where all is well."""
        if self._loop.time() - self._looked > self._fresh:
            if self._look is None or self._look.done():
                self._look = self._loop.create_task(self._look_at_all(), name="vitals")
            await asyncio.shield(self._look)
        return self._faults

    async def close(self) -> None:
        """Stop looking."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    async def _look_at_all(self) -> None:
        reasons = await asyncio.gather(self._look_at_sip(), self._look_at_store())
        found = zip(("sip", "store"), reasons, strict=True)
        self._faults = {part: reason for part, reason in found if reason}
        self._looked = self._loop.time()

    async def _look_at_sip(self) -> str:
        if not self._endpoint.bound:
            return "no listener is bound"
        if not self._endpoint.accepting:
            return "a listener accepts no connections"
        locals_ = [local for transport, local in self._endpoint.bound if transport is Transport.UDP]
        silent = [local for local in locals_ if not await self._answers(local)]
        return f"no answer at {', '.join(map(str, silent))}" if silent else ""

    async def _answers(self, local: Address) -> bool:
        """Send OPTIONS from the socket to itself, and tell whether anything comes through it."""
        before = self._endpoint.received
        flow = Flow.between(Transport.UDP, local, _reachable(local))
        try:
            await asyncio.wait_for(ask(self._endpoint, _options(flow.remote), flow), self._limit)
        except (SipError, TimeoutError, asyncio.TimeoutError):
            # In a flood the kernel may drop our question, but then others come through.
            return self._endpoint.received > before
        return True

    async def _look_at_store(self) -> str:
        try:
            await asyncio.wait_for(self._values.put(ALIVE_KEY, str(int(time.time())).encode()), self._limit)
        except PortError as error:
            return str(error) or "cannot be written"
        except (TimeoutError, asyncio.TimeoutError):
            return f"a write took more than {self._limit:g} seconds"
        return ""


def _reachable(local: Address) -> Address:
    if not is_unspecified(local.host):
        return local
    return Address("::1" if ":" in local.host else "127.0.0.1", local.port)


def _options(remote: Address) -> Request:
    request = Request("OPTIONS", f"sip:roost@{remote}")
    request.set("Max-Forwards", "1")
    request.set("From", f"<sip:roost@{remote}>;tag={new_token()}")
    request.set("To", f"<sip:roost@{remote}>")
    request.set("Call-ID", new_token())
    request.set("CSeq", "1 OPTIONS")
    return request
