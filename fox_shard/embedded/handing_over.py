"""Handing over: which user of the web application is at the other end of a WebSocket or request.

Owns: asking the application. Never: what the user may do; WebSockets, HTTP.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from math import isfinite
from typing import Any

from msgspec import ValidationError, convert, json, structs

from fox_shard.gateway.clients.web_user import WebUser

_log = logging.getLogger("fox")

# Each framework has a type of its own for a scope, and none of them fits those of the others.
UserOf = Callable[[Any], WebUser | Awaitable[WebUser | None] | None]
"""Returns who the application has authenticated; None: nobody. Gets an ASGI scope.

That of a WebSocket, or of a request.
"""


class NotHandedOver(Exception):
    """The application could not say who a client is; the message is a sentence for the client."""


async def ask(user_of: UserOf, scope: Mapping[str, Any], patience: float) -> WebUser | None:
    """Return the user; None: the application has authenticated nobody.

    patience: seconds. Raises NotHandedOver, after the log was told why.
    """
    try:
        async with asyncio.timeout(patience):
            answer = user_of(scope)
            user = await answer if inspect.isawaitable(answer) else answer
        return None if user is None else _checked(user)
    except TimeoutError as error:
        _failed(f"no answer within {patience:g} s", error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is not let in
        _failed(f"{type(error).__name__}: {error}", error)
    raise NotHandedOver("The web application could not say who you are.")


def _checked(user: object) -> WebUser:
    """Return the user. Raises TypeError or ValueError if it is none."""
    if not isinstance(user, WebUser):
        raise TypeError(f"`user` returns a WebUser or None, not {type(user).__name__}")
    try:
        # Structs that are made in Python are not checked by their own; `extra` is to be JSON.
        fields = {**structs.asdict(user), "extra": json.decode(json.encode(user.extra))}
        checked = convert(fields, WebUser)
    except ValidationError as error:
        raise ValueError(f"WebUser: {error}") from error
    if checked.expires is not None and not isfinite(checked.expires):
        # Nothing is later than NaN: neither this session nor those behind it would end in time.
        raise ValueError(f"WebUser: expires is {checked.expires}")
    return checked


def _failed(reason: str, error: Exception) -> None:
    _log.error("user_not_handed_over", extra={"fox": {"reason": reason}}, exc_info=error)
