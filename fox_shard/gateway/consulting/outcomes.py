"""Whom a gateway consults, and what comes of it.

Owns: the structs. Never: asking.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from msgspec import Struct

Why: TypeAlias = Literal["busy", "down", "no_callee", "timeout", "error", "unreadable"]
"""Why there is no answer: too many consultations are under way, or the process that gives calls to
callees is down, or nobody has registered the procedure, or time is over, or who was asked answered
with an error, or with something that is no answer."""


class Procedure(Struct, frozen=True):
    """A procedure that is consulted, of a realm."""

    realm: str
    name: str


class Function(Struct, frozen=True):
    """A Python function that is consulted. name: `module:function`."""

    name: str


Adviser: TypeAlias = Procedure | Function


class Advice(Struct, frozen=True):
    """The answer. value: a procedure's first argument (None: it has none), a function's result."""

    value: Any


class NoAdvice(Struct, frozen=True):
    """There is no answer, so whatever depends on it must not happen.

    message: a sentence for the log (see `printable`); clients are not shown it. uri: the error's,
    if there was one.
    """

    why: Why
    message: str
    uri: str = ""


Told: TypeAlias = Callable[[Advice | NoAdvice], None]
"""Is called once, at once or later, unless the consultation is canceled."""


def adviser(text: str, realm: str) -> Adviser:
    """Return whom a setting names: `module:function`, or else a procedure of the realm."""
    return Function(text) if ":" in text else Procedure(realm, text)
