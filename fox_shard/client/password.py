"""Logging in with a password that is not sent, where that is possible.

Owns: which methods are offered, SCRAM and WAMP-CRA of a client, which costs are acceptable. Never:
SCRAM's arithmetic (see `users.scram`), connections.
"""

import hashlib
import hmac
import ipaddress
import secrets
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, final
from urllib.parse import urlsplit

from fox_shard.client.address import UNIX
from fox_shard.client.failures import LoginFailed
from fox_shard.client.login import ANONYMOUS, TICKET, Answer, Attempt, Login
from fox_shard.users import scram

WAMP_SCRAM: Final = "wamp-scram"
SCRAM: Final = "scram"
WAMP_CRA: Final = "wampcra"

SECRET: Final = (WAMP_SCRAM, SCRAM, WAMP_CRA)
"""Methods that do not tell the password, the best one first."""

NONCE: Final = 16
"""Bytes of a nonce."""

LEAST_PBKDF2: Final = 4096
"""Iterations of SCRAM, as RFC 7677 has it; fewer make guessing cheap for a false router."""

LEAST_WAMPCRA: Final = 1000
"""Iterations of WAMP-CRA, as the specification and Crossbar's documentation have them."""

LEAST_ARGON2: Final = 8192
"""Iterations times KiB."""

MOST_PBKDF2: Final = 10_000_000
"""Iterations: some seconds."""

MOST_ARGON2: Final = 1 << 23
"""Iterations times KiB: some seconds."""

MOST_MEMORY: Final = 1 << 20
"""KiB of Argon2: 1 GiB."""

MOST_KEYLEN: Final = 1024
"""Bytes of WAMP-CRA's key."""


@final
class Password:
    """The name and the password of a user; the router chooses one of the methods.

    By default the password is proved, but not told: by SCRAM, in which the router has to prove
    itself, too, or else by WAMP-CRA.
    """

    def __init__(
        self,
        name: str,
        password: str,
        methods: Sequence[str] = SECRET,
        *,
        trusting: bool = False,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """methods: of `wamp-scram`, `scram`, `wampcra`, `ticket` and `anonymous`, in order.

        trusting: answer, too, if the router asks for so little work, or for no salt, that whoever
        listens can guess quickly. random: returns so many random bytes.
        """
        self.methods = tuple(methods)
        self._name = name
        self._password = password
        self._trusting = trusting
        self._random = random
        # Of the last challenge: what the hash was made of, and the hash.
        self._cached: tuple[tuple[object, ...], bytes] = ((), b"")

    def begin(self) -> Attempt:
        """Return an attempt with a new nonce."""
        nonce = b64encode(self._random(NONCE)).decode()
        return _ByPassword(self, self._name, self._password, nonce, trusting=self._trusting)

    def salted(self, challenge: "_Challenge", *, as_written: bool) -> bytes:
        """Return SaltedPassword, which the same costs and salt make only once."""
        made_of = (challenge, as_written)
        if self._cached[0] != made_of:
            try:
                found = scram.salted(
                    self._password,
                    challenge.kdf,
                    challenge.salt,
                    challenge.iterations,
                    challenge.memory,
                    as_written=as_written,
                )
            except Exception as error:
                raise LoginFailed(f"The router asks for a hash that cannot be: {error}.") from error
            self._cached = (made_of, found)
        return self._cached[1]


class _Challenge(NamedTuple):
    """What a password is hashed with for SCRAM."""

    kdf: str
    salt: bytes
    iterations: int
    memory: int


@final
class _ByPassword:
    """An `Attempt` by a password."""

    def __init__(
        self, login: Password, name: str, password: str, nonce: str, *, trusting: bool
    ) -> None:
        self._login = login
        self._name = name
        self._password = password
        self._nonce = nonce
        self._trusting = trusting
        self.methods = tuple(one for one in login.methods if one != ANONYMOUS)
        self.details: dict[str, Any] = {"authmethods": [*login.methods], "authid": name}
        if not {SCRAM, WAMP_SCRAM}.isdisjoint(login.methods):
            self.details["authextra"] = {"nonce": nonce, "channel_binding": None}
        # What WELCOME must say in its authextra: the name and the text.
        self._proof: tuple[str, str] | None = None

    def is_quick(self, method: str) -> bool:
        return method == TICKET

    def answer(self, method: str, extra: Mapping[str, Any]) -> Answer:
        match method:
            case "ticket":
                return Answer(self._password, {})
            case "wampcra":
                return self._wampcra(extra)
            case _:
                return self._scram(extra, as_written=method == WAMP_SCRAM)

    def check(self, welcome: Mapping[str, Any]) -> None:
        if self._proof is None:
            return
        name, text = self._proof
        extra = welcome.get("authextra")
        said = extra.get(name) if isinstance(extra, dict) else None
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), text.encode()):
            raise LoginFailed("The router does not know the password: it is not the one it says.")

    # WAMP-CRA

    def _wampcra(self, extra: Mapping[str, Any]) -> Answer:
        challenge, salt = extra.get("challenge"), extra.get("salt")
        if not isinstance(challenge, str):
            raise LoginFailed("The router's challenge is not one of WAMP-CRA.")
        key = self._password.encode()
        if isinstance(salt, str) and salt:
            iterations = _number(extra, "iterations", 1000)
            length = _number(extra, "keylen", 32)
            if iterations > MOST_PBKDF2 or not 0 < length <= MOST_KEYLEN:
                _too_costly(f"{iterations} iterations for {length} bytes")
            if iterations < LEAST_WAMPCRA:
                self._refuse_cheap(f"{iterations} iterations of WAMP-CRA")
            derived = hashlib.pbkdf2_hmac("sha256", key, salt.encode(), iterations, length)
            key = b64encode(derived)
        else:
            self._refuse_cheap("WAMP-CRA without a salt")
        return Answer(b64encode(hmac.digest(key, challenge.encode(), "sha256")).decode(), {})

    # SCRAM

    def _scram(self, extra: Mapping[str, Any], *, as_written: bool) -> Answer:
        nonce, salt = str(extra.get("nonce", "")), str(extra.get("salt", ""))
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise LoginFailed("The router's challenge is not for us: its nonce is another one.")
        challenge = self._costs(extra, salt, as_written=as_written)
        keys = scram.keys_of(self._login.salted(challenge, as_written=as_written))
        text = scram.signed_text(
            self._name, self._nonce, nonce, salt, challenge.iterations, as_written=as_written
        )
        signature = hmac.digest(keys.stored, text, "sha256")
        proof = bytes(a ^ b for a, b in zip(keys.client, signature, strict=True))
        verifier = b64encode(hmac.digest(keys.server, text, "sha256")).decode()
        if as_written:
            self._proof = ("verifier", f"v={verifier}")
        else:
            self._proof = ("scram_server_signature", verifier)
        more = {"nonce": nonce, "channel_binding": None, "cbind_data": None}
        return Answer(b64encode(proof).decode(), more)

    def _costs(self, extra: Mapping[str, Any], salt: str, *, as_written: bool) -> _Challenge:
        """Return what the password is to be hashed with. Raises LoginFailed."""
        iterations = _number(extra, "iterations", 0)
        try:
            bare = b64decode(salt, validate=True)
        except (Error, ValueError) as error:
            raise LoginFailed(f"The router's salt {salt!r} is not in base64.") from error
        match extra.get("kdf"):
            case scram.PBKDF2:
                if iterations > MOST_PBKDF2:
                    _too_costly(f"{iterations} iterations")
                if iterations < LEAST_PBKDF2:
                    self._refuse_cheap(f"{iterations} iterations of PBKDF2")
                return _Challenge(scram.PBKDF2, bare, iterations, 0)
            case scram.ARGON2 | scram.AUTOBAHN_ARGON2:
                memory = _number(extra, "memory", 0)
                if iterations * memory > MOST_ARGON2 or memory > MOST_MEMORY:
                    _too_costly(f"{iterations} iterations and {memory} KiB")
                if iterations * memory < LEAST_ARGON2:
                    self._refuse_cheap(f"{iterations} iterations of Argon2 with {memory} KiB")
                return _Challenge(scram.ARGON2, bare, iterations, memory)
            case other:
                raise LoginFailed(f"The router asks for the function {other!r}, which is unknown.")

    def _refuse_cheap(self, what: str) -> None:
        if not self._trusting:
            raise LoginFailed(
                f"The router asks for {what}: whoever listens could guess the password quickly, so "
                "this is done with TLS only, or where the method is named."
            )


def _number(extra: Mapping[str, Any], name: str, default: int) -> int:
    found = extra.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def _too_costly(what: str) -> NoReturn:
    raise LoginFailed(f"The router asks for {what}, which is too much work.")


def login_at(url: str, name: str, password: str) -> Login:
    """Return how a user logs in with a password at that address.

    The password is sent, if no other method is possible, only where nobody can listen: with TLS,
    or on this machine. There, a server without users is told that "anonymous" will do.
    """
    if not is_private(url):
        return Password(name, password)
    return Password(name, password, (*SECRET, TICKET, ANONYMOUS), trusting=True)


def is_private(url: str) -> bool:
    """Whether nobody can listen on the way to that address."""
    if url.startswith((UNIX, "wss:")):
        return True
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
