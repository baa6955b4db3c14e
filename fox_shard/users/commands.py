"""`fox user`: adding, changing, listing and removing users.

Owns: the arguments, what is asked for and printed. Never: the file's format (see `file`).
"""

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from fox_shard.config import Config, ConfigError
from fox_shard.topics.realm_names import may_be_made
from fox_shard.users import file
from fox_shard.users.mistakes import in_words
from fox_shard.users.passwords import LENGTH, user_with_password
from fox_shard.users.user import User

SALT: Final = 16
"""Bytes of a salt."""


def run(options: argparse.Namespace, config: Config) -> int:
    """Run one subcommand of `fox user`. Returns the exit code. Raises ConfigError."""
    path = Path(config.users)
    try:
        match options.action:
            case "add":
                _add(options, config, path)
            case "password":
                _change_password(options, path)
            case "key" if options.remove:
                _take_key(options, path)
            case "key":
                _add_key(options, config, path)
            case "remove":
                _remove(options, path)
            case _:
                _list(path, json=options.json)
    except file.UsersFileError as error:
        print(f"fox: {error}", file=sys.stderr)
        return 1
    return 0


def _add(options: argparse.Namespace, config: Config, path: Path) -> None:
    _check_realm(options.realm, config)
    _warn_of_role(options.realm, options.role, config)
    if not options.print:
        _check_absent(path, options.realm, options.name)
    salts = (os.urandom(SALT), os.urandom(SALT), os.urandom(SALT).hex())
    user = _checked(
        user_with_password(
            options.name,
            options.realm,
            options.role,
            _ask_password(),
            salts,
            kdf=options.scram,
            wampcra=options.wampcra,
        )
    )

    if options.print:
        print(_document(user))
        return

    def edit(users: tuple[User, ...]) -> tuple[User, ...]:
        _refuse_present(users, options.realm, options.name)
        return (*users, user)

    file.change(path, edit)


def _document(user: User) -> str:
    """Return the document that makes the user, if it is put into the user's key, as JSON."""
    fields = msgspec.to_builtins(user)
    kept = {
        name: value for name, value in fields.items() if value and name not in ("name", "realm")
    }
    return msgspec.json.encode(kept).decode()


def _change_password(options: argparse.Namespace, path: Path) -> None:
    """Replace everything that is derived from a user's password. Role and public keys stay."""

    def found(users: tuple[User, ...]) -> User:
        return _only([one for one in users if _is(one, options.name, options.realm)], options.name)

    before = file.read(path)
    named = found(before.all if before is not None else ())
    password = _ask_password()
    salts = (os.urandom(SALT), os.urandom(SALT), os.urandom(SALT).hex())

    def new(old: User) -> User:
        kdf = old.scram.kdf if old.scram is not None else "argon2id13"
        wampcra = old.wampcra is not None
        user = user_with_password(
            old.name, old.realm, old.role, password, salts, kdf=kdf, wampcra=wampcra
        )
        return _checked(msgspec.structs.replace(user, pubkeys=old.pubkeys))

    def edit(users: tuple[User, ...]) -> tuple[User, ...]:
        # Somebody else may have changed the file while the password was asked for.
        old = found(tuple(one for one in users if one.realm == named.realm))
        return tuple(new(one) if one is old else one for one in users)

    file.change(path, edit)


def _add_key(options: argparse.Namespace, config: Config, path: Path) -> None:
    pubkey = options.pubkey.lower()
    if options.role and not options.realm:
        raise ConfigError("--role is of a new user: say its --realm, too.")
    if options.realm:
        _check_realm(options.realm, config)
        if options.role:
            _warn_of_role(options.realm, options.role, config)

    def edit(users: tuple[User, ...]) -> tuple[User, ...]:
        found = [user for user in users if _is(user, options.name, options.realm)]
        if not found and options.role:
            role = options.role
            new = User(name=options.name, realm=options.realm, role=role, pubkeys=(pubkey,))
            return (*users, _checked(new))
        old = _only(found, options.name)
        new = _checked(msgspec.structs.replace(old, pubkeys=(*old.pubkeys, pubkey)))
        if pubkey in old.pubkeys:
            raise ConfigError(f'the user "{old.name}" has this public key already.')
        return tuple(new if user is old else user for user in users)

    file.change(path, edit)


def _take_key(options: argparse.Namespace, path: Path) -> None:
    """Take a public key away from a user, who keeps all else."""
    pubkey = options.pubkey.lower()
    if options.role:
        raise ConfigError("--role is of a new user, who has no key to take away.")

    def edit(users: tuple[User, ...]) -> tuple[User, ...]:
        old = _only([one for one in users if _is(one, options.name, options.realm)], options.name)
        if pubkey not in old.pubkeys:
            raise ConfigError(f'the user "{old.name}" does not have this public key.')
        left = tuple(one for one in old.pubkeys if one != pubkey)
        new = msgspec.structs.replace(old, pubkeys=left)
        return tuple(new if user is old else user for user in users)

    file.change(path, edit)


def _remove(options: argparse.Namespace, path: Path) -> None:
    def edit(users: tuple[User, ...]) -> tuple[User, ...]:
        found = [user for user in users if _is(user, options.name, options.realm)]
        old = _only(found, options.name)
        return tuple(user for user in users if user is not old)

    file.change(path, edit)


def _list(path: Path, *, json: bool) -> None:
    users = file.read(path)
    if json:
        for one in users.all if users is not None else ():
            about = {"name": one.name, "realm": one.realm, "role": one.role}
            print(msgspec.json.encode({**about, "proves_it_by": _methods(one)}).decode())
        return
    if users is None:
        print(f"There is no {path}: all clients are anonymous.")
        return
    rows = [("NAME", "REALM", "ROLE", "PROVES IT BY")]
    rows += [(one.name, one.realm, one.role, ", ".join(_methods(one))) for one in users.all]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print(
            "  ".join(
                (*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3])
            )
        )


def _methods(user: User) -> list[str]:
    methods = ["ticket", "MQTT password"] if user.password else []
    methods += [f"scram ({user.scram.kdf})"] if user.scram else []
    methods += ["wampcra"] if user.wampcra else []
    methods += [f"cryptosign ({len(user.pubkeys)})"] if user.pubkeys else []
    return methods or ["nothing"]


def _ask_password() -> str:
    """Return the password: asked for twice at a terminal, else a line of standard input."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("The same again: "):
            raise ConfigError("the two passwords differ; nothing was changed.")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not 0 < len(password) <= LENGTH:
        raise ConfigError(f"a password has 1 to {LENGTH} characters; nothing was changed.")
    return password


def _checked(user: User) -> User:
    """Return the user. Raises ConfigError if its file could not be read again."""
    try:
        msgspec.convert(msgspec.to_builtins(user), User)
    except msgspec.ValidationError as error:
        what, _, where = in_words(error).partition(" - at `$.")
        raise ConfigError(f"{where.rstrip('`')}: {what}.") from error
    return user


def _check_realm(realm: str, config: Config) -> None:
    names = [one.name for one in config.realms]
    is_made = config.auth.realms_on_demand > 0 and may_be_made(realm)
    if realm not in names and not is_made:
        raise ConfigError(f'there is no realm "{realm}"; there are {", ".join(names)}.')


def _warn_of_role(realm: str, role: str, config: Config) -> None:
    """Say so if the realm has roles, but not this one, which may do nothing then."""
    names = [known.name for one in config.realms if one.name == realm for known in one.role]
    if names and role not in names:
        print(
            f'fox: {realm} has no role "{role}", so this user may do nothing there yet.',
            file=sys.stderr,
        )


def _check_absent(path: Path, realm: str, name: str) -> None:
    """Raise ConfigError if there is such a user, before a password is asked for."""
    users = file.read(path)
    _refuse_present(users.all if users is not None else (), realm, name)


def _refuse_present(users: tuple[User, ...], realm: str, name: str) -> None:
    if any(_is(user, name, realm) for user in users):
        raise ConfigError(
            f'{realm} has a user "{name}" already; `fox user remove {name} --realm {realm}` '
            "removes it."
        )


def _is(user: User, name: str, realm: str | None) -> bool:
    return user.name == name and realm in (None, user.realm)


def _only(found: list[User], name: str) -> User:
    if not found:
        raise ConfigError(f'there is no user "{name}".')
    if len(found) > 1:
        realms = ", ".join(user.realm for user in found)
        raise ConfigError(f'several realms have a user "{name}": say --realm, one of {realms}.')
    return found[0]
