"""Which request is being answered, so that whoever logs while it is logs its id too.

Tasks and timers that a request begins have its context for ever. So what they log after the answer has no request id:
an id that is hours old would say something wrong of whatever a timer finds.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any


class Asked:
    """A request that is being answered, as a context manager."""

    __slots__ = ("_request_id",)

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def __enter__(self) -> None:
        _current.set(self)

    def __exit__(self, *_error: object) -> None:
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """Its id; empty once it is answered."""
        return self._request_id


def add_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id of the request that is being answered, if one is (a structlog processor)."""
    asked = _current.get()
    if asked is not None and asked.request_id:
        event["request_id"] = asked.request_id
    return event


_current: ContextVar[Asked | None] = ContextVar("asked", default=None)
