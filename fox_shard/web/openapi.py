"""The description of all operations: OpenAPI 3.1, and a page for people.

Owns: both, made of the table of operations and of the types of bodies. Never: routes.

The page is one HTML document without scripts, so that nothing is fetched from elsewhere.
"""

import re
from html import escape
from http import HTTPStatus
from typing import Any, Final

import msgspec

from fox_shard.version import __version__
from fox_shard.web.operations import OPERATIONS, Operation, Parameter

PROBLEM: Final = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "a sentence: what was wrong"},
        "error": {"type": "string", "description": "the URI of a WAMP error"},
        "args": {"type": "array", "description": "the arguments of a WAMP error"},
        "kwargs": {"type": "object", "description": "the keyword arguments of a WAMP error"},
        "errors": {
            "type": "array",
            "description": "the field of the body (pointer) or the parameter that was wrong",
            "items": {"type": "object"},
        },
    },
}

_CODE: Final = re.compile("`([^`]+)`")

_STYLE: Final = """
:root { color-scheme: light dark; --line: light-dark(#dde1e7, #2a313c);
  --quiet: light-dark(#555f6e, #a3adbb); --surface: light-dark(#fff, #161a21);
  --accent: light-dark(#b83a0b, #fb923c);
  background: light-dark(#f5f6f8, #0e1116); color: light-dark(#171b22, #e7eaef) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.05rem; margin: 0 0 .4rem; overflow-wrap: anywhere }
p { margin: .4rem 0 } p + section { margin-top: 1rem }
a { color: var(--accent) } .quiet { color: var(--quiet) }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
section { background: var(--surface); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.1rem; margin: 0 0 1rem; overflow-x: auto }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .4rem }
table { border-collapse: collapse; margin: .6rem 0 }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0 }
th { color: var(--quiet); font-weight: 500 }
"""


def description(root: str = "") -> dict[str, Any]:
    """Return the OpenAPI document. root: the path at which a web application has the server."""
    types = [kind for one in OPERATIONS for kind in (one.body, one.answer) if _is_struct(kind)]
    _, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fox-shard",
            "version": __version__,
            "description": "Messages, keys and tables over HTTP. See docs/http.md.",
        },
        "servers": [{"url": root or "/"}],
        "security": [{}, {"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def page(root: str = "") -> str:
    """Return the HTML document. root: see `description`."""
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width"><title>fox-shard over HTTP</title>',
        f"<style>{_STYLE}</style></head><body><h1>fox-shard {escape(__version__)} over HTTP</h1>",
        '<p class=quiet>The same as <a href="openapi.json">OpenAPI</a>. Users log in by the header '
        "<code>Authorization</code>: Basic or Bearer. Errors are problem details (RFC 9457). "
        'The <a href="../">dashboard</a> shows the server.</p>',
    ]
    components = description()["components"]["schemas"]
    parts += [_shown(one, root, components) for one in OPERATIONS]
    return "".join([*parts, "</body></html>"])


def _shown(one: Operation, root: str, components: dict[str, Any]) -> str:
    path = escape(root + one.path)
    text = [f"<section><h2><code>{one.method} {path}</code></h2><p>{_prose(one.about)}</p>"]
    if one.parameters:
        rows = (
            f"<tr><td><code>{escape(each.name)}</code><td>{each.in_}"
            f"{', required' if each.is_required else ''}<td>{_prose(each.about)}"
            for each in one.parameters
        )
        text.append(f"<table><tr><th>parameter<th>in<th>meaning{''.join(rows)}</table>")
    for name, kind in (("Body", one.body), ("Answer", one.answer)):
        if _is_struct(kind):
            shown = msgspec.json.format(msgspec.json.encode(components[kind.__name__])).decode()
            text.append(f"<details><summary>{name}</summary><pre>{escape(shown)}</pre></details>")
        elif kind is not None:
            text.append(f"<p>{name}: JSON.</p>")
    text.append(f"<p class=quiet>Errors: {', '.join(map(str, one.problems))}.</p></section>")
    return "".join(text)


def _prose(text: str) -> str:
    """Return a sentence in HTML: what stands in backticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _operation(one: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "done"}
    if one.answer is not None or one.media_type != "application/json":
        schema = {"type": "string"} if one.answer is None else _schema(one.answer)
        answer["content"] = {one.media_type: {"schema": schema}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: dict[str, Any] = {"200": answer}
    for status in one.problems:
        phrase = HTTPStatus(status).phrase
        responses[str(status)] = {"description": phrase, "content": problem}
    found: dict[str, Any] = {
        "summary": one.about,
        "operationId": one.carry_out.__name__,
        "parameters": [_parameter(each) for each in one.parameters],
        "responses": responses,
    }
    if one.body is not None:
        content = {"application/json": {"schema": _schema(one.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.in_,
        "required": one.is_required,
        "description": one.about,
        "schema": {"type": one.kind},
    }


def _schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 (a type)
    if _is_struct(kind):
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"type": "object"} if kind is not Any else {}


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
