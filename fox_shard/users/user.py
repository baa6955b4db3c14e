"""A user, and what the server knows to check a password or a key: never the password.

Owns: the structs, and finding a user. Never: files, hashing.
"""

from collections.abc import Collection, Iterable
from copy import copy
from typing import Annotated, Literal, Protocol, Self, final

from msgspec import Meta, Struct

from fox_shard.users.profile import Profile, ScramProfile, WampCraProfile, profile_of_nobody

NAME_LENGTH = 255
"""Characters of the longest name of a user or role."""

OWN = "fox."
"""How the names of the server's own users begin."""

DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
"""The verifier of no password, with the costs of those that `passwords` makes."""

NAME_FORM = r"^(?!fox\.)[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""Names that begin with "fox." are the server's own."""

VERIFIER_FORM = (
    r"^\$argon2id\$v=19\$m=[0-9]{1,7},t=[0-9]{1,4},p=[0-9]{1,2}"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$"
)
PUBLIC_KEY_FORM = r"^[0-9a-f]{64}$"

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH, pattern=NAME_FORM)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Salt = Annotated[bytes, Meta(min_length=8, max_length=64)]
Verifier = Annotated[str, Meta(pattern=VERIFIER_FORM)]
PublicKey = Annotated[str, Meta(pattern=PUBLIC_KEY_FORM)]
Kdf = Literal["argon2id13", "pbkdf2"]


class Scram(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What SCRAM needs (WAMP #wamp-scram). memory: KiB, of argon2id13 only.

    autobahn_stored_key, autobahn_server_key: the same keys as autobahn and Crossbar derive them
    with argon2id13, from the hash's base64 text instead of its bytes; None: those clients cannot
    use SCRAM.
    """

    kdf: Kdf
    salt: Salt
    iterations: Annotated[int, Meta(ge=1, le=100_000_000)]
    memory: Annotated[int, Meta(ge=0, le=1 << 22)] = 0
    stored_key: Key
    server_key: Key
    autobahn_stored_key: Key | None = None
    autobahn_server_key: Key | None = None


class WampCra(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What WAMP-CRA needs (WAMP #wampcra), which is as good as the password.

    key: the text that signs challenges: of a salted password, the derived key in base64. salt: ""
    if the key was not derived, and is the password itself.
    """

    key: Annotated[str, Meta(min_length=1, max_length=1024)]
    salt: Annotated[str, Meta(max_length=128)] = ""
    iterations: Annotated[int, Meta(ge=1, le=100_000_000)] = 100_000
    keylen: Annotated[int, Meta(ge=16, le=64)] = 32


class User(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One [[user]] of a realm. password: the verifier (argon2id, PHC text); None: there is none.

    pubkeys: Ed25519 public keys in hexadecimal, for cryptosign.
    """

    name: Name
    realm: Annotated[str, Meta(min_length=1)]
    role: Name
    password: Verifier | None = None
    pubkeys: tuple[PublicKey, ...] = ()
    scram: Scram | None = None
    wampcra: WampCra | None = None

    @property
    def profile(self) -> Profile:
        """What everybody can see of the user."""
        scram, wampcra = self.scram, self.wampcra
        return Profile(
            password=self.password is not None,
            scram=None
            if scram is None
            else ScramProfile(
                scram.kdf, scram.iterations, scram.memory, scram.autobahn_stored_key is not None
            ),
            wampcra=None
            if wampcra is None
            else WampCraProfile(bool(wampcra.salt), wampcra.iterations, wampcra.keylen),
        )


class DuplicateUser(ValueError):
    """Two users of one realm have the same name, or the same public key."""


class OtherUsers(Protocol):
    """Users from elsewhere than the file, which are looked for after those of the file."""

    def find(self, realm: str, name: str) -> User | None: ...

    def find_by_key(self, realm: str, pubkey: str) -> User | None: ...

    def profiles(self, realm: str) -> Collection[Profile]: ...


@final
class Users:
    """All users, found by name or by public key.

    dummy: the verifier of no password, as expensive as those of the users.
    """

    __slots__ = (
        "_by_key",
        "_by_name",
        "_others",
        "_profiles",
        "all",
        "dummy",
    )

    def __init__(self, users: Iterable[User]) -> None:
        """Raises DuplicateUser."""
        self.all = tuple(users)
        self._others: OtherUsers | None = None
        self._by_name: dict[tuple[str, str], User] = {}
        self._by_key: dict[tuple[str, str], User] = {}
        for user in self.all:
            if (user.realm, user.name) in self._by_name:
                raise DuplicateUser(f'there are two users "{user.name}" in {user.realm}')
            self._by_name[user.realm, user.name] = user
            for key in user.pubkeys:
                if self._by_key.setdefault((user.realm, key), user) is not user:
                    raise DuplicateUser(f"two users in {user.realm} have the public key {key}")
        verifier = next((user.password for user in self.all if user.password), DUMMY)
        # The hash of nothing that anybody could find.
        self.dummy = verifier.rpartition("$")[0] + "$" + "A" * 43
        # Realm -> the profiles of its users, without the server's own.
        self._profiles: dict[str, dict[Profile, None]] = {}
        for user in self.all:
            if not user.name.startswith(OWN):
                self._profiles.setdefault(user.realm, {})[user.profile] = None

    def before(self, others: OtherUsers) -> Self:
        """Return these users, behind whom others are looked for. `all` has none of the others."""
        both = copy(self)
        both._others = others  # noqa: SLF001 - of its own class
        return both

    def has_wampcra(self, realm: str) -> bool:
        """Whether some users of the realm have a key for WAMP-CRA."""
        return any(profile.wampcra is not None for profile in self._profiles_of(realm))

    def profile(self, realm: str, name: str, secret: bytes) -> Profile | None:
        """Return what everybody can see of the user of that name, also if there is none.

        None: the realm has no users. secret: see `profile_of_nobody`.
        """
        user = self.find(realm, name)
        if user is not None:
            return user.profile
        return profile_of_nobody(name, self._profiles_of(realm), secret)

    def _profiles_of(self, realm: str) -> Iterable[Profile]:
        own: Collection[Profile] = self._profiles.get(realm, ())
        others = self._others
        return own if others is None else dict.fromkeys((*own, *others.profiles(realm)))

    def find(self, realm: str, name: str) -> User | None:
        """Return the user of that name, None if there is none."""
        user = self._by_name.get((realm, name))
        return self._others.find(realm, name) if user is None and self._others is not None else user

    def find_by_key(self, realm: str, pubkey: str) -> User | None:
        """Return the user with that public key (hexadecimal, lower case), None: there is none."""
        user = self._by_key.get((realm, pubkey))
        if user is None and self._others is not None:
            user = self._others.find_by_key(realm, pubkey)
            # The name may be that of a user of the file, who is another one.
            if user is not None and (realm, user.name) in self._by_name:
                return None
        return user
