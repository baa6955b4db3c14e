"""The commands for keys of a running server: get, put, list, watch.

Owns: what is asked of the router, and what is printed. Never: the session's beginning and end; what
failures mean (`visit`).
"""

import sys
from collections.abc import Iterator
from math import inf
from typing import Literal

from fox_shard.client import Event, Failure, Session
from fox_shard.remote.connecting import DONE, NO, tell
from fox_shard.remote.schemas import row_topic
from fox_shard.remote.values import as_json, as_name, as_plain, value_of

Match = Literal["exact", "prefix", "wildcard"]


def get(session: Session, topic: str, *, json: bool) -> int:
    """Print a key's value. json: print text as JSON too. Returns the exit code."""
    for event in _keys(session, topic, "exact"):
        if event.removed:
            tell(f"The key {topic} has a value that cannot be shown here: it is {event.removed}.")
            return NO
        value = value_of(event)
        text = as_json(value).encode() + b"\n" if json else as_plain(value)
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return DONE
    tell(f"There is no key {topic}.")
    return NO


def put(
    session: Session,
    topic: str,
    args: list[object],
    options: dict[str, object],
    *,
    json: bool = False,
) -> int:
    """Publish a key and print the publication id; no arguments: erase it. Returns the exit code.

    For a row of a table its topic is printed, too. json: print both as an object.
    """
    until = inf if "watch" in options else None
    publication = session.publish(topic, args, options, until=until)
    row = _row_of(session, topic, args)
    if json:
        print(as_json({"publication": publication, "topic": row or topic}), flush=True)
    else:
        print(f"{publication}\t{as_name(row)}" if row else publication, flush=True)
    return DONE


def _row_of(session: Session, topic: str, args: list[object]) -> str | None:
    """Return the topic of the row that was published; None: it is none, or nobody says so."""
    if not (args and isinstance(args[0], dict)):
        return None
    try:
        return row_topic(session, topic, args[0])
    except Failure:
        return None  # the row is published; this user may not read the schema, or it is away


def list_keys(
    session: Session, pattern: str, match: Match, *, long: bool, json: bool = False
) -> int:
    """Print the topics that match, sorted. long: ids and values too. Returns the exit code.

    json: print an object for each.
    """
    for event in sorted(_keys(session, pattern, match), key=lambda event: event.topic):
        if json:
            print(_as_object(event))
            continue
        fields = [as_name(event.topic)]
        if long:
            fields += [str(event.publication), _as_text(event)]
        print("\t".join(fields))
    sys.stdout.flush()
    return DONE


def watch(session: Session, pattern: str, match: Match, *, json: bool = False) -> int:
    """Print the keys that match, then each of their changes, until the router ends it.

    json: print an object for each.
    """
    changes = session.subscribe(pattern, {"match": match, "retained": True})
    while (event := changes.next()) is not None:
        line = _as_object(event) if json else f"{as_name(event.topic)}\t{_as_text(event)}"
        print(line, flush=True)
    tell("The router has ended the subscription.")
    return NO


def _as_text(event: Event) -> str:
    """Return a key's value as JSON, or the reason why there is none."""
    return f"-\t{event.removed}" if event.removed else as_json(value_of(event))


def _as_object(event: Event) -> str:
    """Return a key as JSON: its topic and publication, and its value or why that is gone."""
    rest = {"removed": event.removed} if event.removed else {"value": value_of(event)}
    return as_json({"topic": event.topic, "publication": event.publication, **rest})


def _keys(session: Session, pattern: str, match: Match) -> Iterator[Event]:
    options = {"match": match, "get_retained": True, "snapshot": True}
    return session.subscribe(pattern, options).replay()
