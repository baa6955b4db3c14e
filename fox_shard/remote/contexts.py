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

VARIABLES: Final = {
    "url": "FOX_URL",
    "realm": "FOX_REALM",
    "user": "FOX_USER",
    "ca": "FOX_CA",
    "cert": "FOX_CERT",
    "key": "FOX_KEY",
    "auth": "FOX_AUTH",
    "token_file": "FOX_TOKEN_FILE",
}
"""The variables that stand in for options, by option."""

DONE: Final = 0
NO: Final = 1


class ContextError(Exception):
    """There is no such context, or the file cannot be read. The text is a sentence."""


class Context(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What stands in for options; "": nothing does."""

    url: str = ""
    realm: str = ""
    user: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    auth: str = ""
    token_file: str = ""


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
    context = _of(contexts, chosen)
    for name in VARIABLES:
        if not getattr(options, name) and getattr(context, name):
            setattr(options, name, getattr(context, name))
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
            contexts.contexts[options.name] = Context(
                *(getattr(options, name) or "" for name in VARIABLES)
            )
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
        fields = msgspec.to_builtins(context)
        current = name == contexts.current
        if json:
            print(msgspec.json.encode({"name": name, "current": current, **fields}).decode())
        else:
            pairs = (f"{key}={value}" for key, value in fields.items())
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
        return msgspec.json.decode(file.read_bytes(), type=_Contexts)
    except FileNotFoundError:
        return _Contexts()
    except (OSError, msgspec.MsgspecError) as error:
        raise ContextError(f"{file} cannot be read: {error}.") from error


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
