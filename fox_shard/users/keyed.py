"""Users that are kept in retained keys, a document for each (`[[realm]] users`).

Owns: what a document may contain, finding such a user, how many there may be. Never: where
documents come from (see `gateway.auth.user_keys`), the file with the users.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, final

import msgspec

from fox_shard.users.mistakes import in_words
from fox_shard.users.profile import Profile
from fox_shard.users.user import User

OVERHEAD: Final = 200
"""Bytes counted for a user besides its document."""

MOST_MEMORY: Final = 1 << 16
MOST_TIME: Final = 10
MOST_LANES: Final = 4
"""The most that a verifier may cost each time that a password is checked, in KiB, iterations and
lanes: whoever publishes it decides that."""

_COSTS: Final = re.compile(r"\$argon2id\$v=19\$m=([0-9]+),t=([0-9]+),p=([0-9]+)\$.*")


class InvalidUser(ValueError):
    """A document that is no user's; the message says why, and repeats nothing of it."""


def user_of(realm: str, name: str, document: Mapping[Any, Any]) -> User:
    """Return the user that the document describes. Raises InvalidUser."""
    if "name" in document or "realm" in document:
        raise InvalidUser("name and realm are those of the key, and not in its document")
    try:
        user = msgspec.convert({**document, "name": name, "realm": realm}, User)
    except msgspec.ValidationError as error:
        raise InvalidUser(in_words(error)) from error
    costs = _COSTS.fullmatch(user.password or "")
    if costs is not None:
        memory, time, lanes = map(int, costs.groups())
        if memory > MOST_MEMORY or not 0 < time <= MOST_TIME or not 0 < lanes <= MOST_LANES:
            raise InvalidUser(
                f"password: a verifier costs {MOST_MEMORY} KiB, {MOST_TIME} iterations and "
                f"{MOST_LANES} lanes at most"
            )
    return user


@final
class KeyedUsers:
    """The users of one gateway that are in keys, of all realms, with their number and bytes."""

    __slots__ = (
        "_by_key",
        "_by_name",
        "_bytes",
        "_most",
        "_most_bytes",
        "_profiles",
    )

    def __init__(self, most: int, most_bytes: int) -> None:
        """most, most_bytes: how many there may be, and how many bytes they may take."""
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        # (realm, name) -> user, bytes.
        self._by_name: dict[tuple[str, str], tuple[User, int]] = {}
        # (realm, public key) -> names of those that have it.
        self._by_key: dict[tuple[str, str], dict[str, None]] = {}
        # Realm -> profile -> number of users that have it.
        self._profiles: dict[str, dict[Profile, int]] = {}

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self._by_name)

    def set(self, user: User, size: int) -> bool:
        """Put a user in its place, also of another of that name. Returns whether there is room.

        size: bytes of the document. If there is no room, there is no user of that name any more.
        """
        self.remove(user.realm, user.name)
        size += OVERHEAD
        if len(self._by_name) >= self._most or self._bytes + size > self._most_bytes:
            return False
        self._by_name[user.realm, user.name] = (user, size)
        self._bytes += size
        for key in user.pubkeys:
            self._by_key.setdefault((user.realm, key), {})[user.name] = None
        profiles = self._profiles.setdefault(user.realm, {})
        profiles[user.profile] = profiles.get(user.profile, 0) + 1
        return True

    def remove(self, realm: str, name: str) -> None:
        """Remove the user of that name, if there is one."""
        found = self._by_name.pop((realm, name), None)
        if found is None:
            return
        user, size = found
        self._bytes -= size
        for key in dict.fromkeys(user.pubkeys):
            names = self._by_key[realm, key]
            del names[name]
            if not names:
                del self._by_key[realm, key]
        profiles = self._profiles[realm]
        profiles[user.profile] -= 1
        if not profiles[user.profile]:
            del profiles[user.profile]

    def find(self, realm: str, name: str) -> User | None:
        """Return the user of that name, None if there is none."""
        found = self._by_name.get((realm, name))
        return None if found is None else found[0]

    def find_by_key(self, realm: str, pubkey: str) -> User | None:
        """Return the only user with that public key; None: there is none, or there are several."""
        names = self._by_key.get((realm, pubkey), {})
        return self.find(realm, next(iter(names))) if len(names) == 1 else None

    def profiles(self, realm: str) -> Collection[Profile]:
        """Return the profiles of the realm's users."""
        return self._profiles.get(realm, {}).keys()
