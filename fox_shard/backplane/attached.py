"""Attached gateways: those beyond the configured number, which come and go.

Owns: their names. Never: links (see `links`); what a process keeps of them (see `departures`).

An attached gateway chooses its own name, at random and once for its process, so that no two ever
have the same one. What other processes keep of it under this name ends with it.
"""

from collections.abc import Callable, Collection
from typing import Final

PREFIX: Final = "gateway-x"
"""The beginning of their names. Configured gateways have numbers there."""

Running = Callable[[], Collection[str]]
"""Returns the names of all attached gateways whose processes run."""


HasEnded = Callable[[str], bool]
"""Tells whether the process of the attached gateway of that name has ended, for sure."""


def none_run() -> Collection[str]:
    """Say that no attached gateway runs: a `Running`."""
    return ()


def nobody_knows(name: str) -> bool:
    """Say that it is not sure that a process has ended: a `HasEnded`."""
    return False


def name_of(number: int) -> str:
    """Return the name of an attached gateway. number: a random one of 48 bits."""
    return f"{PREFIX}{number:012x}"


def is_attached(name: str) -> bool:
    """Return whether a process of that name is an attached gateway."""
    return name.startswith(PREFIX)
