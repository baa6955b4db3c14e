"""From arguments to requests: what each command asks of a running server.

Owns: what the options mean together, as options of WAMP. Never: parsing (`arguments`).
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterator
from typing import Final

from fox_shard.config import Config
from fox_shard.remote import (
    keys,
    messages,
    procedures,
    reducers,
    schemas,
    sessions,
    tables,
    webhooks,
)
from fox_shard.remote.connecting import Target, target_for, tell, visit
from fox_shard.remote.lock import Terms, run_under_lock, vigilant
from fox_shard.remote.message_arguments import wamp_options
from fox_shard.remote.values import from_text, why_no_json


def run(options: argparse.Namespace, config: Config) -> int:
    """Run the command that `options` names. Returns the exit code. Raises ConfigError."""
    target = target_for(options, config)
    if options.command == "lock":
        return _lock(options, vigilant(target, config))
    return _COMMANDS[options.command](options, target)


def _get(options: argparse.Namespace, target: Target) -> int:
    return visit(target, lambda router: keys.get(router, options.topic, json=options.json))


def _put(options: argparse.Namespace, target: Target) -> int:
    args, publish = _value(options), _put_options(options)
    topic, json = options.topic, options.json
    return visit(target, lambda router: keys.put(router, topic, args, publish, json=json))


def _keys(options: argparse.Namespace, target: Target) -> int:
    pattern, match, long, json = options.pattern, options.match, options.long, options.json
    return visit(
        target, lambda router: keys.list_keys(router, pattern, match, long=long, json=json)
    )


def _watch(options: argparse.Namespace, target: Target) -> int:
    pattern, match, json = options.pattern, options.match, options.json
    return visit(target, lambda router: keys.watch(router, pattern, match, json=json))


def _pub(options: argparse.Namespace, target: Target) -> int:
    if options.lines and options.values:
        options.mistake("either VALUE or --lines")
    topic, kwargs, wanted, json = options.topic, options.kwargs, options.options, options.json
    events = _lines() if options.lines else [_values(options)]
    return visit(
        target,
        lambda router: messages.publish(router, topic, events, kwargs, wanted, json=json),
    )


def _sub(options: argparse.Namespace, target: Target) -> int:
    wanted = wamp_options(options, match=options.match)
    pattern, count, json = options.pattern, options.count, options.json
    return visit(
        target, lambda router: messages.subscribe(router, pattern, wanted, count=count, json=json)
    )


def _call(options: argparse.Namespace, target: Target) -> int:
    timeout = {} if options.timeout is None else {"timeout": round(options.timeout * 1000)}
    wanted = wamp_options(options, receive_progress=True, **timeout)
    args, kwargs = _values(options), options.kwargs
    procedure, json = options.procedure, options.json
    return visit(
        target, lambda router: messages.call(router, procedure, args, kwargs, wanted, json=json)
    )


def _register(options: argparse.Namespace, target: Target) -> int:
    # The router lets further calls wait, and spreads them over several of these commands.
    wanted = wamp_options(options, match=options.match, invoke=options.invoke, concurrency=1)
    procedure, command = options.procedure, options.command_line
    return visit(target, lambda router: procedures.register(router, procedure, wanted, command))


def _values(options: argparse.Namespace) -> list[object]:
    for text in options.values:
        _hint(text)
    return [from_text(text) for text in options.values]


def _hint(text: str) -> None:
    """Say so if a value is text that was perhaps meant to be JSON."""
    if text.startswith(("{", "[")) and (why := why_no_json(text)):
        tell(f"{text[:40]!r} is taken for text, as it is no JSON: {why}.")


def _lines() -> Iterator[list[object]]:
    for line in sys.stdin:
        yield [from_text(line.removesuffix("\n"))]


def _sessions(options: argparse.Namespace, target: Target) -> int:
    if options.action == "list":
        return visit(target, lambda router: sessions.list_sessions(router, json=options.json))
    ids, reason = options.sessions, options.reason
    return visit(target, lambda router: sessions.end_sessions(router, ids, reason))


def _value(options: argparse.Namespace) -> list[object]:
    """Return the arguments to publish; none for `--delete`."""
    if options.delete:
        if options.value is not None:
            options.mistake("either VALUE or --delete")
        return []
    if options.value is None:
        options.mistake("a VALUE, or - to read it from stdin, or --delete")
    text = sys.stdin.read().removesuffix("\n") if options.value == "-" else options.value
    _hint(text)
    value = from_text(text)
    if value is None:
        options.mistake("null would be no key: say --delete")
    return [value]


def _put_options(options: argparse.Namespace) -> dict[str, object]:
    publish: dict[str, object] = {"retain": options.seconds or True}
    if options.new:
        publish["when"] = None
    elif options.when is not None:
        publish["when"] = options.when
    elif options.when_id is not None:
        publish["when_id"] = options.when_id
    elif options.wait:
        options.mistake("--wait is for a condition: --new, --when or --when-id")
    if options.wait:
        publish["watch"] = True
    return publish


def _reducers(options: argparse.Namespace, target: Target) -> int:
    if options.action == "list":
        return visit(target, lambda router: reducers.list_reducers(router, json=options.json))
    which = {"durable": options.name, "match": options.match, "mission": options.mission}
    return visit(target, lambda router: reducers.remove(router, options.pattern, which))


def _webhooks(options: argparse.Namespace, target: Target) -> int:
    return visit(target, lambda router: webhooks.list_webhooks(router, json=options.json))


def _tables(options: argparse.Namespace, target: Target) -> int:
    json = options.json
    match options.action:
        case "list":
            return visit(target, lambda router: tables.list_tables(router, json=json))
        case "show":
            return visit(target, lambda router: tables.show(router, options.table, options.key))
        case "verify":
            table, quiet = options.table, options.quiet
            return visit(
                target, lambda router: tables.verify(router, table, json=json, quiet=quiet)
            )
        case _:
            return visit(target, lambda router: tables.watch(router, options.table, json=json))


def _schema(options: argparse.Namespace, target: Target) -> int:
    if options.action == "show":
        return visit(target, lambda router: schemas.show(router, json=options.json))
    try:
        text = schemas.read(options.file)
    except schemas.SchemaFileError as error:
        tell(str(error))
        return schemas.MISTAKE
    wait, quiet, json = options.wait, options.quiet, options.json
    return visit(
        target, lambda router: schemas.set_schema(router, text, wait=wait, quiet=quiet, json=json)
    )


def _lock(options: argparse.Namespace, target: Target) -> int:
    terms = Terms(0.0 if options.no_wait else options.timeout, options.grace)
    value = options.value
    if value is None:
        value = {"host": socket.gethostname(), "pid": os.getpid()}
    return visit(
        target,
        lambda router: run_under_lock(router, options.name, value, terms, options.command_line),
    )


_COMMANDS: Final = {
    "pub": _pub,
    "sub": _sub,
    "call": _call,
    "register": _register,
    "get": _get,
    "put": _put,
    "keys": _keys,
    "watch": _watch,
    "tables": _tables,
    "webhooks": _webhooks,
    "schema": _schema,
    "reducers": _reducers,
    "sessions": _sessions,
}
