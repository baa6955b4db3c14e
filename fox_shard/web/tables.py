"""Tables: `/api/tables`, the rows of one, and one row.

Owns: how a row's key stands in a path. Never: what tables are (see `fox_shard.tables`).
"""

import asyncio
import re
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.client.failures import NoAnswer, Refused
from fox_shard.tables.keys import TEXT, component_of
from fox_shard.web.context import Context, context_of
from fox_shard.web.keys import key_at
from fox_shard.web.problems import Problem, root_of
from fox_shard.web.reading import answered, document, number, parameters, visitor_of
from fox_shard.web.sessions import Visitor

AT_ONCE: Final = 1000
"""Rows of a page, at most."""

INVALID: Final = "wamp.error.invalid_argument"

_TABLE: Final = re.compile(r"/api/tables/([^/]+)/")


class Rows(Struct, frozen=True):
    """A page of rows. more: there are others. after: the key of the last one, for the next page."""

    rows: list[dict[str, Any]]
    more: bool
    after: list[Any] | None


async def list_tables(request: Request) -> Response:
    """Return all tables of the realm."""
    found = parameters(request, ("realm",))
    args, _ = await _asked(request, found, "fox.table.list")
    return answered({"tables": args[0]})


async def rows(request: Request) -> Response:
    """Return a page of rows."""
    found = parameters(request, ("realm", "filter", "after", "limit"))
    options: dict[str, Any] = {"limit": number(found, "limit", AT_ONCE, 1, AT_ONCE)}
    if (wanted := document(found, "filter")) is not None:
        options["filter"] = wanted
    if "after" in found:
        options["after"] = _key(found["after"])
    name = _table(request)
    try:
        args, kwargs = await _asked(request, found, "fox.table.rows", name, options)
    except Refused as refused:
        if refused.uri == INVALID and not await _has_table(request, found, name):
            raise Problem(404, f"There is no table {name}.") from refused
        raise
    return answered(Rows(args[0], bool(kwargs.get("more")), kwargs.get("after")))


async def _has_table(request: Request, found: dict[str, str], name: str) -> bool:
    args, _ = await _asked(request, found, "fox.table.list")
    return any(table.get("table") == name for table in args[0])


async def row(request: Request) -> Response:
    """Return one row, whose key's values are the components of the path."""
    parameters(request, ("realm",))
    name = _table(request)
    parts = _raw_key(request, name).split("/")
    try:
        components = [component_of(unquote(part, errors="strict"), TEXT) for part in parts]
    except (ValueError, UnicodeDecodeError):
        raise Problem(404, "There is no such row.") from None
    # An integer or a boolean has the same component as the text that it is written as.
    return await key_at(request, ".".join([name, *components]))


def _raw_key(request: Request, table: str) -> str:
    """Return the key in the path as it was sent, where a slash of a value is `%2F`."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    parts = raw.partition(b"?")[0].decode("ascii", "replace").split("/")
    root = root_of(request)
    if request.scope["path"].startswith(root):
        del parts[1 : root.count("/") + 1]
    # Some web applications leave what is before a mount in this path only.
    path = "/".join(parts)
    for found in _TABLE.finditer(path):
        if unquote(found[1]) == table:
            return path[found.end() :]
    return ""


def _table(request: Request) -> str:
    name: str = request.path_params["table"]
    return name


def _key(text: str) -> list[Any]:
    try:
        return msgspec.json.decode(text, type=list[Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise Problem(
            400, "after must be the JSON array that the last page gave.", parameter="after"
        ) from None


async def _asked(
    request: Request, found: dict[str, str], procedure: str, *args: object
) -> tuple[list[Any], dict[str, Any]]:
    context: Context = context_of(request)
    visitor: Visitor = await visitor_of(request, found.get("realm") or context.limits.realm)
    try:
        async with (
            asyncio.timeout(context.limits.answer_timeout),
            context.sessions.shared(visitor) as session,
        ):
            return await session.call(procedure, list(args), {}, {})
    except TimeoutError:
        raise NoAnswer from None
