"""What requests say: their bodies, their parameters, and who sends them.

Owns: the limits of what is read, and the place of a mistake. Never: what is done with it.
"""

import asyncio
import base64
import binascii
import gc
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fox_shard.client.event import Event
from fox_shard.documents.containers import json_has_more
from fox_shard.web.bodies import Bodies, address_of
from fox_shard.web.encoding import ESCAPED, Unreadable, as_json, restore_bytes
from fox_shard.web.handed_over import known_to_application
from fox_shard.web.problems import CHALLENGE, Problem
from fox_shard.web.sessions import Visitor

B = TypeVar("B")

SHOWN: Final = 80
"""Characters of a client's text that an error repeats."""

LONGEST: Final = 400
"""Characters of an error that is told whole."""

_AT: Final = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)
_FIELD: Final = re.compile(r"(?:missing required|unknown) field `([^`]+)`")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


async def body_of(request: Request, bodies: Bodies, limit: int, patience: float) -> bytes:
    """Read the body. limit: bytes. patience: seconds. Raises Problem."""
    address = address_of(request)
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                bodies.take(address, len(part))
                request.state.body_bytes += len(part)
                parts.append(part)
    except TimeoutError:
        raise Problem(408, f"The body has not come within {patience:g} s.") from None
    except ClientDisconnect:
        raise Problem(400, "The body has ended too early.") from None
    return b"".join(parts)


def _too_large(limit: int) -> Problem:
    # The rest of the body is not read: the connection cannot be used again.
    headers = {"connection": "close"}
    sentence = f"The body has more than {limit} bytes (gateway.max_message_size)."
    return Problem(413, sentence, headers=headers)


def check_json(request: Request) -> None:
    """Raise Problem if the body is said to be something else than JSON.

    A page of another origin cannot send this media type without asking the server first (CORS).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(415, "The body must be JSON, with Content-Type: application/json.")


def decoded(body: bytes, kind: type[B], most: int) -> B:
    """Return the body as a `kind`. most: lists and objects. Raises Problem, which names the field.

    A body of more would be refused by the gateway as well, but to make them takes longer.
    """
    try:
        value = _read(body, kind, most)
    except msgspec.ValidationError as error:
        # It repeats the name of an unknown field, however long that is.
        text = str(error) if len(str(error)) <= LONGEST else f"{str(error)[:SHOWN]}…"
        found = _AT.fullmatch(text)
        what, place = (found[1], found[2]) if found else (text, "")
        pointer = "".join(f"/{name or index}" for name, index in _STEP.findall(place))
        field = _FIELD.search(what)
        if field:
            pointer += "/" + field[1].replace("~", "~0").replace("/", "~1")
        raise Problem(400, f"{what}.", pointer=pointer) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise Problem(400, "The body has too many levels.") from None
    if ESCAPED in body:
        if isinstance(value, Struct):
            for name in ("args", "kwargs"):
                restore_bytes(getattr(value, name))
        else:
            value = restore_bytes(value)
    return value


def _read(body: bytes, kind: type[B], most: int) -> B:
    if json_has_more(body, most):
        sentence = f"The body has more than {most:,} lists and objects (gateway.max_containers)."
        raise Problem(400, sentence)
    with no_collection():
        return msgspec.json.decode(body, type=kind)


@contextmanager
def no_collection() -> Iterator[None]:
    """Look for no garbage meanwhile: of millions of values that are read, none is garbage.

    16 MiB of `[],` take a third of a second instead of two or more, in which nobody else is served.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """Return the query parameters. Raises Problem if one is not known, or there twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            listed = ", ".join(sorted(known))
            sentence = f"There is no parameter {name[:SHOWN]!r}; there are {listed}."
            raise Problem(400, sentence, parameter=name[:SHOWN])
        if name in found:
            raise Problem(400, f"The parameter {name} is there twice.", parameter=name)
        found[name] = value
    return found


def number(found: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a whole number among the parameters. Raises Problem."""
    text = found.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,16}", text) or not least <= int(text) <= most:
        sentence = f"{name} must be a whole number from {least} to {most}."
        raise Problem(400, sentence, parameter=name)
    return int(text)


def flag(found: dict[str, str], name: str) -> bool:
    """Return whether a parameter is true. Raises Problem."""
    value = found.get(name, "false").lower()
    if value not in ("true", "false"):
        raise Problem(400, f"{name} must be true or false.", parameter=name)
    return value == "true"


def document(found: dict[str, str], name: str) -> dict[str, Any] | None:
    """Return a JSON object among the parameters; None: there is none. Raises Problem."""
    if name not in found:
        return None
    try:
        return msgspec.json.decode(found[name], type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise Problem(400, f"{name} must be a JSON object.", parameter=name) from None


def match_of(found: dict[str, str]) -> str:
    """Return the match policy of a pattern. Raises Problem."""
    match = found.get("match", "exact")
    if match not in ("exact", "prefix", "wildcard"):
        raise Problem(400, "match must be exact, prefix or wildcard.", parameter="match")
    return match


def required(found: dict[str, str], name: str) -> str:
    """Return a parameter that must be there. Raises Problem."""
    if not found.get(name):
        raise Problem(400, f"The parameter {name} is missing.", parameter=name)
    return found[name]


async def visitor_of(request: Request, realm: str) -> Visitor:
    """Return who sends the request: by its header Authorization, or whom the web application knows.

    Raises Problem.
    """
    address = address_of(request)
    shown = request.headers.getlist("authorization")
    if not shown:
        return await known_to_application(request, realm) or Visitor(realm, address)
    scheme, _, rest = shown[0].strip().partition(" ")
    rest = rest.strip()
    if len(shown) == 1 and rest and scheme.lower() == "bearer":
        return Visitor(realm, address, token=rest)
    if len(shown) == 1 and scheme.lower() == "basic":
        try:
            text = base64.b64decode(rest, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        name, colon, password = text.partition(":")
        if colon and name:
            return Visitor(realm, address, name, password)
    raise Problem(
        401,
        "The header Authorization must be one: Bearer with a token, or Basic with a name and a "
        "password.",
        headers=CHALLENGE,
    )


def answered(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON, which nobody keeps."""
    try:
        content = as_json(value)
    except Unreadable:
        raise Problem(502, "The answer cannot be written as JSON.") from None
    return Response(
        content, status, {"cache-control": "no-store", **(headers or {})}, "application/json"
    )


def value_of(event: Event) -> Any:  # noqa: ANN401 (JSON)
    """Return one value for the arguments, as MQTT clients get it (docs/semantics.md, Payloads)."""
    if not event.kwargs:
        return event.args[0] if len(event.args) == 1 else event.args
    return {"args": event.args, "kwargs": event.kwargs} if event.args else event.kwargs
