"""Contexts: named servers, so that commands need no --url, --realm, --user and so on.

Owns: the file with the contexts, and what stands in for options that were not given.
Never: sessions.

The file is `fox-shard/contexts.json` in $XDG_CONFIG_HOME, or else in ~/.config. It has no
passwords.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from fox_shard.remote.server_options import SERVER_OPTIONS

VARIABLES: Final = {one.field: one.variable for one in SERVER_OPTIONS}
"""The variables that stand in for options, by option."""

DONE: Final = 0
NO: Final = 1


class ContextError(Exception):
    """There is no such context, or the file cannot be read. The text is a sentence."""


Context = dict[str, str]
"""What stands in for options, by option."""


class _Contexts(Struct, forbid_unknown_fields=True):
    current: str = ""
    contexts: dict[str, Context] = {}


def fill(options: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """Set the options of `VARIABLES` that were not given.

    A variable stands in for an option, and else the context: that of --context or $FOX_CONTEXT, or
    the current one. Returns where the URL comes from: an option, a variable or a context; "":
    nowhere. Raises ContextError.
    """
    source = "--url" if options.url else ""
    for name, variable in VARIABLES.items():
        if not getattr(options, name) and environ.get(variable):
            setattr(options, name, environ[variable])
            source = source or (variable if name == "url" else "")
    named = options.context or environ.get("FOX_CONTEXT", "")
    if not named and (options.config or environ.get("FOX_CONFIG")):
        return source  # whoever names a configuration means the server that it describes
    contexts = _read(environ)
    chosen = named or contexts.current
    if not chosen:
        return source
    for name, value in _of(contexts, chosen).items():
        if not getattr(options, name):
            setattr(options, name, value)
            source = source or (f"the context {chosen}" if name == "url" else "")
    return source


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run `fox context`. Returns the exit code. Raises ContextError."""
    contexts = _read(environ)
    match options.action:
        case "list":
            _list(contexts, json=options.json)
            return DONE
        case "set":
            said = {name: getattr(options, name) for name in VARIABLES}
            contexts.contexts[options.name] = {name: text for name, text in said.items() if text}
            contexts.current = contexts.current or options.name
        case "use":
            if options.name != "-":
                _of(contexts, options.name)
            contexts.current = options.name.removeprefix("-")
        case _:
            _of(contexts, options.name)
            del contexts.contexts[options.name]
            if contexts.current == options.name:
                contexts.current = ""
    _write(environ, contexts)
    return DONE


def _list(contexts: _Contexts, *, json: bool) -> None:
    if not (contexts.contexts or json):
        print("There are no contexts: see `fox context set --help`.")
    for name, context in sorted(contexts.contexts.items()):
        current = name == contexts.current
        if json:
            print(msgspec.json.encode({"name": name, "current": current, **context}).decode())
        else:
            pairs = (f"{key}={value}" for key, value in context.items())
            print("*" if current else " ", name, *pairs)


def _of(contexts: _Contexts, name: str) -> Context:
    context = contexts.contexts.get(name)
    if context is None:
        known = ", ".join(sorted(contexts.contexts)) or "none"
        raise ContextError(f"There is no context {name}; there are: {known}.")
    return context


def _file(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "fox-shard" / "contexts.json"


def _read(environ: Mapping[str, str]) -> _Contexts:
    file = _file(environ)
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Contexts)
    except FileNotFoundError:
        return _Contexts()
    except (OSError, msgspec.MsgspecError) as error:
        raise ContextError(f"{file} cannot be read: {error}.") from error
    for name, context in found.contexts.items():
        if unknown := sorted(context.keys() - VARIABLES.keys()):
            raise ContextError(f"{file} cannot be read: {unknown[0]} of {name} is no option.")
    return found


def _write(environ: Mapping[str, str], contexts: _Contexts) -> None:
    """Replace the file, whole or not at all. Raises ContextError."""
    file = _file(environ)
    beside = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(contexts)) + b"\n")
        beside.replace(file)
    except OSError as error:
        raise ContextError(f"{file} cannot be written: {error.strerror}.") from error
