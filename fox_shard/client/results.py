"""Arguments of messages as values of programs.

Owns: what a result is for whoever has called, and what a function has returned. Never: messages.
"""

from typing import Any, NamedTuple


class Result(NamedTuple):
    """A result with several arguments, or with keyword arguments.

    A procedure that returns one answers with these.
    """

    args: list[Any]
    kwargs: dict[str, Any]


def value_of(args: list[Any], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - what a callee answers
    """Return the only argument, None if there is none; else the whole result."""
    if kwargs or len(args) > 1:
        return Result(args, kwargs)
    return args[0] if args else None


def result_of(value: object) -> Result:
    """Return what is answered by a function that returns `value`."""
    if isinstance(value, Result):
        return value
    return Result([] if value is None else [value], {})
