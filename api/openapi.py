"""GET /openapi.json: the API described by its own route table and schemas (OpenAPI 3.1).

Nothing is described twice: paths, methods, parameters and who may use them are those of the routes; the bodies are the
schemas that requests are held to. Only the answers have a file of their own, `schema/answers.json`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import orjson

from api.call import Answer
from api.routing import Access, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.ports import Json, JsonObject

PARAMETERS: Final[dict[str, JsonObject]] = {
    "details": {"type": "boolean", "description": "Tell of each device its contacts and whether it is in a call"},
    "events": {"type": "string", "description": "Names of events or their first parts: device.registered,sync"},
    "last_event_id": {"type": "integer", "description": "Begin after this event; as the header Last-Event-ID"},
    "auto_answer": {"type": "boolean", "description": "Make the phone answer by itself, where only one is rung"},
    "cid-name": {"type": "string", "description": "Name shown to the number"},
    "cid-number": {"type": "string", "description": "Number shown to the number"},
    "ignore-early-media": {"type": "boolean"},
    "contact": {"type": "string", "description": "Contact URI of one registration of the device; all without"},
    "include_api_key": {"type": "boolean"},
    "media": {"type": "string", "enum": ["process", "bypass"]},
    "mode": {"type": "string", "enum": ["resync", "reboot"], "description": "What a phone is to do"},
    "number_filter": {"type": "string", "description": "true, false, or a regular expression"},
    "page_size": {"type": "integer", "minimum": 1, "description": "Rows of a page"},
    "paginate": {"type": "boolean", "description": "false gives everything at once"},
    "rate": {"type": "number", "minimum": 0.01, "maximum": 100, "default": 5, "description": "NOTIFYs a second"},
    "start_key": {"type": "string", "description": "next_start_key of the page before"},
    "target_call_id": {"type": "string"},
    "timeout": {"type": "integer", "description": "Seconds that the device may ring"},
    "wait": {"type": "number", "minimum": 0, "maximum": 60, "description": "Seconds to wait for the outcome"},
    "with_status": {"type": "boolean", "description": "Tell of each row whether it is registered"},
    "created_from": {"type": "integer", "minimum": 0, "description": "Gregorian seconds"},
    "created_to": {"type": "integer", "minimum": 0, "description": "Gregorian seconds"},
    "modified_from": {"type": "integer", "minimum": 0, "description": "Gregorian seconds"},
    "modified_to": {"type": "integer", "minimum": 0, "description": "Gregorian seconds"},
}
STATUS_TEXTS: Final = {
    304: "Not modified",
    400: "The request breaks rules",
    401: "No valid credentials",
    403: "Not allowed",
    404: "There is no such thing",
    405: "The method is not for this one",
    406: "No acceptable type",
    409: "Conflict",
    412: "A precondition does not hold",
    413: "The body is too large",
    415: "The body's type cannot be read",
    429: "Too many requests",
    500: "It could not be done",
    503: "Not available now",
}
EMPTY_STATUSES: Final = frozenset({304, 406, 412, 415})
ALWAYS: Final = (400, 406, 412, 413, 415, 429, 503)
GUARDED: Final = (401, 403, 404)
CAN_FAIL: Final = frozenset({Access.QUICKCALL})
SECURITY: Final[JsonObject] = {
    "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
}
PARAMETER_IN_PATH: Final = re.compile(r"\{(\w+)\}")


def describing(routes: Sequence[Route]) -> Route:
    """Return the route that describes these routes and itself."""

    @cache
    def document(version: str) -> bytes:
        return orjson.dumps(build((*routes, this), version))

    async def read_document(call: Call) -> Answer:
        """GET /openapi.json."""
        return Answer(document(call.policy.version), bare=True)

    this = Route("GET", "/openapi.json", read_document, "Read this document", Access.OPEN, answer="openapi")
    return this


def build(routes: Sequence[Route], version: str) -> JsonObject:
    """Return the OpenAPI document."""
    paths: dict[str, Json] = {}
    for route in routes:
        path = paths.setdefault(f"/v2{route.path}", {})
        assert isinstance(path, dict)
        path[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Roost",
            "version": version,
            "description": "Kazoo's devices API, version 2, over a registrar of its own",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": SECURITY},
    }


def _operation(route: Route) -> JsonObject:
    operation: JsonObject = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
        "security": [] if route.access is Access.OPEN else [{name: []} for name in SECURITY],
    }
    if route.body is not None:
        data: JsonObject = {"data": _schema(route.body)}
        envelope: JsonObject = {"type": "object", "required": ["data"], "properties": data}
        operation["requestBody"] = {"content": {"application/json": {"schema": envelope}}}
    return operation


def _operation_id(route: Route) -> str:
    return route.method.lower() + re.sub(r"\W+", "_", route.path).rstrip("_")


def _tag(route: Route) -> str:
    nouns = [part for part in route.path.strip("/").split("/") if not part.startswith("{")]
    return next((noun for noun in reversed(nouns) if noun in ("devices", "users", "webhooks")), nouns[0])


def _path_parameters(route: Route) -> list[Json]:
    names = PARAMETER_IN_PATH.findall(route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[Json]:
    return [{"name": name, "in": "query", "schema": PARAMETERS.get(name, {"type": "string"})} for name in route.query]


def _responses(route: Route) -> JsonObject:
    good = 201 if route.method == "PUT" else 200
    responses: JsonObject = {str(good): {"description": "Done", "content": _content(route)}}
    for status in _statuses(route):
        response: JsonObject = {"description": STATUS_TEXTS[status]}
        if status not in EMPTY_STATUSES:
            response["content"] = _json(_schema("refusal"))
        responses[str(status)] = response
    return responses


def _statuses(route: Route) -> list[int]:
    statuses = set(ALWAYS)
    if route.access is not Access.OPEN or route.body is not None:
        statuses.update(GUARDED)
    if "tokeninfo" in route.path:
        statuses.add(401)
    if route.method == "GET":
        statuses.update(() if route.streams else (304,))
    elif route.access is not Access.OPEN:
        statuses.add(409)
    if route.access in CAN_FAIL or (route.method == "DELETE" and route.path == "/accounts/{account_id}"):
        statuses.add(500)
    if route.path == "/accounts/{account_id}" and route.method == "DELETE":
        statuses.add(405)
    return sorted(statuses)


def _answer(route: Route) -> JsonObject:
    if route.answer == "openapi":
        return _schema(route.answer)
    listed = route.answer.endswith("_rows")
    required: list[Json] = ["status", "request_id", "timestamp"]
    return {
        "type": "object",
        "required": required if route.answer == "nothing" else ["data", *required],
        "properties": {
            "auth_token": {"type": "string"},
            "data": _schema(route.answer),
            "request_id": {"type": "string"},
            "revision": {"type": "string"},
            "status": {"type": "string", "const": "success"},
            "timestamp": {"type": "string"},
            "version": {"type": "string"},
            **(PAGE_KEYS if listed else {}),
            **(DELIVERIES if "wait" in route.query else {}),
        },
    }


PAGE_KEYS: Final[JsonObject] = {
    "next_start_key": {"type": "string"},
    "page_size": {"type": "integer"},
    "start_key": {"type": "string"},
}

DELIVERIES: Final[JsonObject] = {"deliveries": {"$ref": "#/components/schemas/delivery_rows"}}


def _content(route: Route) -> JsonObject:
    if route.streams:
        return {"text/event-stream": {"schema": _schema(route.answer)}}
    others: JsonObject = {each: {"schema": {"type": "string"}} for each in route.types}
    return {**_json(_answer(route)), **others}


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


def _schema(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> JsonObject:
    """Return all the schemas, with their references made those of the document."""
    schemas: JsonObject = {}
    for file in sorted((files("api") / "schema").iterdir(), key=lambda each: each.name):
        document: JsonObject = orjson.loads(file.read_bytes())
        name = file.name.removesuffix(".json")
        schemas.update(document if name == "answers" else {name: document})
    return {name: _linked(schema) for name, schema in schemas.items()}


def _linked(value: Json) -> Json:
    if isinstance(value, list):
        return [_linked(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: f"#/components/schemas/{item}" if key == "$ref" else _linked(item) for key, item in value.items()}
