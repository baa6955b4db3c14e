"""Python functions that the configuration names as reducers.

Owns: finding them, calling them, and what their results and exceptions mean. Never: sessions.

A function gets the event's arguments, its keyword arguments, and `Details`, and returns the key's
new value; None erases the key.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import Struct

from fox_shard.config import Realm, Reducer
from fox_shard.errors import AskAgain, StartError

FAILED: Final = "wamp.error.runtime_error"

MAX_TEXT: Final = 400
"""Characters of an exception's text that are told."""


class Details(Struct, frozen=True):
    """What a function is told of an event. retained: the key's present value, or None."""

    topic: str
    publication: int
    retained: Any


class Retry(Exception):
    """Raised by a function that is to be asked again, later, about the same event.

    after: seconds; 0: 0.1 s, and then twice as long each time, up to 30 s.
    """

    def __init__(self, after: float = 0.0) -> None:
        super().__init__(f"asked again after {after:g} s" if after else "asked again later")
        self.after = after


class MissingFunction(StartError):
    """A function cannot be found; the message is a sentence for the user."""


Function = Callable[[list[Any], dict[str, Any], Details], Any]


class Loaded(NamedTuple):
    """A reducer with its function. longest: bytes of a message (`gateway.max_message_size`)."""

    reducer: Reducer
    function: Function
    longest: int


class Answer(NamedTuple):
    """What is answered for an event. uri: the error's; "": value is the key's new value.

    after: seconds after which the function wants to be asked again; 0: it does not say.
    """

    value: Any
    uri: str = ""
    after: float = 0.0


def python_reducers(realm: Realm) -> list[Reducer]:
    """Return the realm's reducers that are Python functions."""
    return [reducer for reducer in realm.reducer if not reducer.is_built_in]


def load(realm: Realm, folder: Path, longest: int) -> list[Loaded]:
    """Find the functions of a realm's reducers. Raises MissingFunction.

    folder: where modules are looked for first. longest: bytes of a message.
    """
    return [
        Loaded(reducer, find(reducer.function, folder, "reducer"), longest)
        for reducer in python_reducers(realm)
    ]


def find(name: str, folder: Path, what: str) -> Callable[..., Any]:
    """Find a function by its name, `module:function`. Raises MissingFunction.

    folder: where modules are looked for first. what: what the function is, for the message.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise MissingFunction(
            f"The {what} {name} cannot be loaded: the module {module} cannot be imported "
            f"({type(error).__name__}: {error})."
        ) from error
    for part in path.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise MissingFunction(
            f"The {what} {name} cannot be loaded: {module} has no function {path}."
        )
    function: Callable[..., Any] = found
    return function


def call(function: Function, args: list[Any], kwargs: dict[str, Any], details: Details) -> Answer:
    """Call a function, and return what is answered."""
    try:
        return Answer(function(args, kwargs, details))
    except Retry as retry:
        return Answer("the reducer asks for another try", AskAgain.uri, retry.after)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it concerns this event only
        return Answer(f"{type(error).__name__}: {error}"[:MAX_TEXT], FAILED)
