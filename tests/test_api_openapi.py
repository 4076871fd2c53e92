"""The OpenAPI document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import ROUTES
from api.openapi import build

if TYPE_CHECKING:
    from api_client import Api

SCHEMAS = Path(__file__).parent.parent / "api" / "schema"


def test_document_is_valid() -> None:
    """The document is OpenAPI 3.1."""
    OpenAPIV31SpecValidator(build(ROUTES, "1.0")).validate()  # type: ignore[arg-type]


def test_document_has_every_route() -> None:
    """Each method of the route table is in the document, under an id of its own."""
    paths = build(ROUTES, "1.0")["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]

    assert len(ROUTES) == len(operations)
    assert len(ROUTES) == len({operation["operationId"] for operation in operations})


def test_no_answer_has_the_name_of_a_body() -> None:
    """Both become schemas of the document, where one would hide the other."""
    files = {file.stem for file in SCHEMAS.glob("*.json")} - {"answers"}
    answers = orjson.loads((SCHEMAS / "answers.json").read_bytes())

    assert set() == files & answers.keys()


async def test_document_is_served_to_anybody(api: Api) -> None:
    """The document comes without an envelope and without a token."""
    document = await api.ask("GET", "/v2/openapi.json", token=None)

    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
