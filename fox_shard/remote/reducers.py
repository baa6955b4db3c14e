"""`fox reducers`: the list of reducers, and the removal of durable ones.

Owns: what is printed. Never: what a server has (see the procedure `fox.reducer.list`).
"""

import time
from typing import Any, Final

import msgspec

from fox_shard.client import Session
from fox_shard.remote.columns import print_columns
from fox_shard.remote.connecting import DONE
from fox_shard.remote.values import as_name

INTERVAL: Final = 1.0
"""Seconds over which it is counted how many events are folded."""

HEAD: Final = (
    "PATTERN",
    "FOLDED BY",
    "DESTINATION",
    "DURABLE",
    "WAITING",
    "OLDEST",
    "PER SECOND",
    "FAILED",
)

Reducer = dict[str, Any]


def list_reducers(router: Session, *, json: bool) -> int:
    """Print the realm's reducers. Returns the exit code. Raises ConnectionLost, Refused."""
    before = _reducers(router)
    if json:
        for reducer in before:
            print(msgspec.json.encode(reducer).decode())
        return DONE
    if not before:
        print("There are no reducers.")
        return DONE
    time.sleep(INTERVAL)
    folded = {_identity(reducer): reducer["folded"] for reducer in before}
    print_columns(HEAD, (_line(reducer, folded) for reducer in _reducers(router)))
    return DONE


def _reducers(router: Session) -> list[Reducer]:
    (found,) = router.call("fox.reducer.list")
    return sorted((one for one in found if not one["webhook"]), key=_identity)


def _identity(reducer: Reducer) -> tuple[str, ...]:
    names = ("pattern", "match", "mission", "durable", "function")
    return tuple(str(reducer[name]) for name in names)


def _line(reducer: Reducer, folded: dict[tuple[str, ...], int]) -> tuple[str, ...]:
    instances = reducer["instances"]
    clients = f"{instances} instance{'' if instances == 1 else 's'}"
    new = reducer["folded"] - folded.get(_identity(reducer), reducer["folded"])
    return (
        as_name(reducer["pattern"]) + (" (prefix)" if reducer["match"] == "prefix" else ""),
        reducer["function"] or clients,
        as_name(reducer["mission"] or "-"),
        as_name(reducer["durable"] or "-"),
        str(reducer["queued"]),
        f"{reducer['oldest']:.1f} s" if reducer["queued"] else "-",
        f"{max(0, new) / INTERVAL:.0f}",
        str(reducer["failed"]),
    )


def remove(router: Session, pattern: str, which: dict[str, object]) -> int:
    """Remove a durable reducer. which: the arguments of `fox.reducer.remove`.

    Returns the exit code. Raises ConnectionLost, Refused.
    """
    router.call("fox.reducer.remove", pattern, **which)
    return DONE
