"""From arguments to requests: what each command asks of a running server.

Owns: what the options mean together, as options of WAMP. Never: parsing (`arguments`).
"""

import argparse
import os
import socket
import sys

from fox_shard.config import Config
from fox_shard.remote import keys, reducers, schemas, tables
from fox_shard.remote.connecting import Target, target_of, tell, visit
from fox_shard.remote.lock import Terms, run_under_lock, vigilant
from fox_shard.remote.values import from_text


def run(options: argparse.Namespace, config: Config) -> int:
    """Run the command that `options` names. Returns the exit code. Raises ConfigError."""
    target = target_of(config, options.url, options.realm, options.source, options.user, options.ca)
    match options.command:
        case "get":
            return visit(target, lambda router: keys.get(router, options.topic, json=options.json))
        case "put":
            args, publish = _value(options), _put_options(options)
            topic, json = options.topic, options.json
            return visit(target, lambda router: keys.put(router, topic, args, publish, json=json))
        case "keys":
            pattern, match, long = options.pattern, options.match, options.long
            return visit(target, lambda router: keys.list_keys(router, pattern, match, long=long))
        case "watch":
            return visit(target, lambda router: keys.watch(router, options.pattern, options.match))
        case "reducers":
            return _reducers(options, target)
        case "table":
            return _table(options, target)
        case "schema":
            return _schema(options, target)
        case _:
            return _lock(options, config)


def _value(options: argparse.Namespace) -> list[object]:
    """Return the arguments to publish; none for `--delete`."""
    if options.delete:
        if options.value is not None:
            options.mistake("either VALUE or --delete")
        return []
    if options.value is None:
        options.mistake("a VALUE, or - to read it from stdin, or --delete")
    text = sys.stdin.read().removesuffix("\n") if options.value == "-" else options.value
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
    if options.remove is None:
        if options.pattern is not None:
            options.mistake("--pattern is for --remove")
        return visit(target, lambda router: reducers.list_reducers(router, json=options.json))
    if options.pattern is None:
        options.mistake("--remove needs the --pattern of the reducer")
    which = {"durable": options.remove, "match": options.match, "mission": options.mission}
    return visit(target, lambda router: reducers.remove(router, options.pattern, which))


def _table(options: argparse.Namespace, target: Target) -> int:
    match options.action:
        case "ls":
            return visit(target, lambda router: tables.list_tables(router, json=options.json))
        case "show":
            return visit(target, lambda router: tables.show(router, options.table, options.key))
        case "verify":
            return visit(target, lambda router: tables.verify(router, options.table))
        case _:
            return visit(target, lambda router: tables.watch(router, options.table))


def _schema(options: argparse.Namespace, target: Target) -> int:
    if options.action == "show":
        return visit(target, schemas.show)
    try:
        text = schemas.read(options.file)
    except schemas.SchemaFileError as error:
        tell(str(error))
        return schemas.MISTAKE
    return visit(target, lambda router: schemas.set_schema(router, text))


def _lock(options: argparse.Namespace, config: Config) -> int:
    target = vigilant(
        target_of(config, options.url, options.realm, options.source, options.user, options.ca),
        config,
    )
    terms = Terms(0.0 if options.no_wait else options.timeout, options.grace)
    value = options.value
    if value is None:
        value = {"host": socket.gethostname(), "pid": os.getpid()}
    return visit(
        target,
        lambda router: run_under_lock(router, options.name, value, terms, options.command_line),
    )
