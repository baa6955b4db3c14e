"""The commands for single messages at a running server: publish, subscribe, call.

Owns: what is asked of the router, and what is printed. Never: the session's beginning and end; what
failures mean (`visit`).
"""

import sys
from collections.abc import Iterable
from math import inf
from typing import Any

from fox_shard.client import Event, Session
from fox_shard.remote.connecting import DONE, NO, tell
from fox_shard.remote.values import as_json, as_name, as_plain, value_of

Options = dict[str, Any]


def publish(
    session: Session,
    topic: str,
    messages: Iterable[list[Any]],
    kwargs: Options,
    options: Options,
    *,
    json: bool,
) -> int:
    """Publish messages and print the publication id of each. Returns the exit code.

    json: print an object with id and topic for each.
    """
    for args in messages:
        publication = session.publish(topic, args, options, kwargs=kwargs or None)
        about = {"publication": publication, "topic": topic}
        print(as_json(about) if json else publication, flush=True)
    return DONE


def subscribe(
    session: Session, pattern: str, options: Options, *, count: int | None, json: bool
) -> int:
    """Print events: topic, tab, and the value as JSON. Returns the exit code.

    count: of events, after which the command ends; None: until the router ends the subscription.
    json: print an object for each event.
    """
    events = session.subscribe(pattern, options)
    seen = 0
    while seen != count:
        event = events.next()
        if event is None:
            tell("The router has ended the subscription.")
            return NO
        print(_as_object(event) if json else _as_line(event), flush=True)
        seen += 1
    return DONE


def call(
    session: Session,
    procedure: str,
    args: list[Any],
    kwargs: Options,
    options: Options,
    *,
    json: bool,
) -> int:
    """Call a procedure and print its result, and its progressive results as they come.

    json: print an object with args and kwargs for each. Returns the exit code.
    """

    def show(args: list[Any], kwargs: Options) -> None:
        if json:
            text = as_json({"args": args, "kwargs": kwargs}).encode() + b"\n"
        elif not (args or kwargs):
            return
        else:
            text = as_plain(value_of(Event(procedure, 0, args, kwargs, "")))
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()

    # How long a call takes is up to its callee, and to the timeout among the options.
    show(*session.call_with(procedure, args, kwargs, options, progress=show, until=inf))
    return DONE


def _as_line(event: Event) -> str:
    value = f"-\t{event.removed}" if event.removed else as_json(value_of(event))
    return f"{as_name(event.topic)}\t{value}"


def _as_object(event: Event) -> str:
    return as_json(
        {
            "topic": event.topic,
            "publication": event.publication,
            "args": event.args,
            "kwargs": event.kwargs,
            "details": event.details,
        }
    )
