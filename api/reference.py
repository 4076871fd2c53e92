"""Writes `docs/api.md` from the OpenAPI document, which is made of the routes and schemas themselves.

`python -m api.reference` rewrites it in a working copy; a test fails while it differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from api.app import ROUTES
from api.listing import FILTERS, PAGING
from api.openapi import STATUS_TEXTS, build
from api.routing import Access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Tree: TypeAlias = "Mapping[str, Any]"  # JSON that we made

PAGE: Final = Path(__file__).parent.parent / "docs" / "api.md"
PREFIX: Final = "#/components/schemas/"
WHO: Final = {
    Access.OPEN: "anybody",
    Access.TOKEN: "whoever has a token",
    Access.ACCOUNT: "a token of the account, of one above it, or of the master account",
    Access.QUICKCALL: "a token of the account, of one above it, or of the master account; anybody where the device or "
    "`api.anonymous_quickcall` lets them",
    Access.SUPERDUPER: "a token of the master account",
}
HEADER: Final = """\
<!-- Written by `python -m api.reference`; change the routes and schemas in api/ instead. -->
# API

Kazoo's devices API, version 2: what a Kazoo client sends works here unchanged. `GET /v2/openapi.json` is the same as
this page for programs.

**Who asks.** Get a token by `PUT /v2/api_auth` with `{"data":{"api_key":"..."}}` or `PUT /v2/user_auth` with
`{"data":{"credentials":"<md5 or sha1 of user:password>","account_name":"..."}}`, and send it as `X-Auth-Token:
TOKEN`, as `Authorization: Bearer TOKEN` or as `?auth_token=TOKEN`. `/v2/account/...` stands for `/v2/accounts/{the
token's account}/...`.

**Envelope.** A body is `{"data": ...}`; an answer is `{"data": ..., "status": "success", "request_id": ...,
"timestamp": ...}` with `revision`, `auth_token`, `version` and the keys of paging where they apply. A refusal has
`"status": "error"`, `error` (the status as text), `message` (a word for programs) and `data` (what is wrong, by field
where fields are).

**Conditions.** A document and a list have an ETag: `If-None-Match` on GET answers 304, `If-Match` on a change answers
412 where somebody was faster. **Methods.** A POST with `"verb": "PATCH"` beside `data` is taken as that method.

**Lists** come in pages of 50 by id: `page_size`, `start_key` (the `next_start_key` of the page before),
`paginate=false` for everything. **Filters**: `filter_KEY=VALUE`, `filter_not_KEY=VALUE`, `has_key`, `key_missing`,
`has_value`, `value_missing`, `created_from`, `created_to`, `modified_from`, `modified_to` (Gregorian seconds); `KEY`
may be a path such as `sip.username`.
"""


def render() -> str:
    """Return the text of `docs/api.md`."""
    document: Tree = build(ROUTES, "")
    schemas: Tree = document["components"]["schemas"]
    parts = [HEADER, "\n| status | meaning |\n| --- | --- |\n"]
    parts += [f"| {status} | {text} |\n" for status, text in STATUS_TEXTS.items()]
    bodies: dict[str, None] = {}
    for tag, operations in _by_tag(document).items():
        parts.append(f"\n## {tag}\n")
        for method, path, operation in operations:
            parts.append(_operation(method, path, operation, bodies))
    parts.append("\n## Bodies\n\nWhat stands in `data`. What is not named here is kept as it was sent.\n")
    parts += [_body(name, schemas) for name in bodies]
    return "".join(parts)


def write() -> None:
    """Bring `docs/api.md` up to date."""
    PAGE.write_text(render(), encoding="utf-8")


def _by_tag(document: Tree) -> dict[str, list[tuple[str, str, Tree]]]:
    found: dict[str, list[tuple[str, str, Tree]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    return found


def _operation(method: str, path: str, operation: Tree, bodies: dict[str, None]) -> str:
    access = next(route.access for route in ROUTES if (route.method, f"/v2{route.path}") == (method, path))
    lines = [f"\n### {method} {path}\n\n{operation['summary']}. For {WHO[access]}.\n"]
    names = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
    common = [text for text, group in (("pages", PAGING), ("filters", FILTERS)) if set(group) <= set(names)]
    own = [each for each in operation["parameters"] if each["name"] in set(names) - {*PAGING, *FILTERS}]
    if own:
        lines.append("\n| parameter | type | meaning |\n| --- | --- | --- |\n")
        lines += [
            f"| `{each['name']}` | {_type(each['schema'])} | {each['schema'].get('description', '')} |\n"
            for each in own
        ]
    if common:
        lines.append(f"\nTakes {' and '.join(common)}.\n")
    body = operation.get("requestBody")
    if body is not None:
        schema = body["content"]["application/json"]["schema"]["properties"]["data"]
        name = schema["$ref"].removeprefix(PREFIX)
        bodies[name] = None
        lines.append(f"\nBody: [{name}](#{name}).\n")
    return "".join(lines)


def _body(name: str, schemas: Tree) -> str:
    schema = schemas[name]
    about = schema.get("description", "")
    text = f"\n### {name}\n\n{about}{'.' if about else ''}\n"
    rows = [
        f"| `{path}` | {kind} | {default} | {meaning} |\n" for path, kind, default, meaning in _fields(schema, schemas)
    ]
    return text + ("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows) if rows else "")


def _fields(schema: Tree, schemas: Tree, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for key, rules in schema.get("properties", {}).items():
        target = schemas[rules["$ref"].removeprefix(PREFIX)] if "$ref" in rules else {}
        whole = {**target, **rules}
        default = f"`{_json(whole['default'])}`" if "default" in whole else "required" if key in required else ""
        below = list(_fields(whole, schemas, f"{prefix}{key}."))
        if not below or whole.get("description"):
            yield prefix + key, _type(whole), default, whole.get("description", "").replace("|", "\\|")
        yield from below


def _type(schema: Tree) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if text == "array" and "items" in schema:
        text = f"list of {_type(schema['items'])}"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{text}, {least} to {most}"
    return f"{text}, {least} or more" if least is not None else text


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


if __name__ == "__main__":
    write()
