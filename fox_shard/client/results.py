"""The result of a call.

Owns: its fields, and what becomes of what a function returns. Never: messages.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

NOTHING: Final[Mapping[str, Any]] = {}


class Result(Struct, frozen=True):
    """The result of a call; a function that is called may return one, too."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = NOTHING

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever the callee returns
        """The first argument, None if there is none."""
        return self.args[0] if self.args else None


def result_of(value: object) -> Result:
    """Return what is answered by a function that returns `value`."""
    return value if isinstance(value, Result) else Result([value])
