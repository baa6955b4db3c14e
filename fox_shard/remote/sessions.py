"""`fox sessions`: who is connected, and ending sessions.

Owns: what is printed. Never: what a server knows of sessions (WAMP #session-meta-api).
"""

from typing import Any, Final

from fox_shard.client import Refused, Session
from fox_shard.remote.columns import print_columns
from fox_shard.remote.connecting import DONE
from fox_shard.remote.values import as_json, as_name

HEAD: Final = ("SESSION", "USER", "ROLE", "METHOD", "TRANSPORT")


def list_sessions(router: Session, *, json: bool) -> int:
    """Print the realm's sessions, without this one. Returns the exit code.

    json: print an object for each. Raises ConnectionLost, NoAnswer, Refused.
    """
    (ids,) = router.call("wamp.session.list")
    others = sorted(number for number in ids if number != router.id)
    found: list[dict[str, Any]] = []
    for answer in router.call_all("wamp.session.get", [[number] for number in others]):
        # A session may have ended since it was listed.
        if not isinstance(answer, Refused):
            found.append(answer[0])
    if json:
        for session in found:
            print(as_json(session))
        return DONE
    if not found:
        print("There are no other sessions.")
        return DONE
    print_columns(HEAD, map(_line, found))
    return DONE


def end_sessions(router: Session, sessions: list[int], reason: str | None) -> int:
    """End sessions. reason: the URI of GOODBYE. Returns the exit code. Raises Refused, NoAnswer."""
    named = {} if reason is None else {"reason": reason}
    for session in sessions:
        router.call("wamp.session.kill", session, **named)
    return DONE


def _line(session: dict[str, Any]) -> tuple[str, ...]:
    transport = session.get("transport") or {}
    through = " ".join(str(transport[key]) for key in ("protocol", "peer") if key in transport)
    return (
        str(session["session"]),
        as_name(str(session.get("authid") or "-")),
        str(session.get("authrole") or "-"),
        str(session.get("authmethod") or "-"),
        through or "-",
    )
