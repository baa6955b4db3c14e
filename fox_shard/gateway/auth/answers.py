"""What an authenticator answers: who a client is, or that it is nobody.

Owns: the forms of an answer (those of Crossbar), and which of them are refused. Never: asking.
"""

from collections.abc import Container
from typing import Annotated, Any, Final, final

import msgspec
from msgspec import Meta, Struct

from fox_shard.users.mistakes import in_words
from fox_shard.users.user import Name, User, WampCra

EXTRA_BYTES: Final = 1 << 14
"""Bytes of an answer's `extra`, in JSON."""

Keys = Annotated[list[str], Meta(max_length=100)]


@final
class BadAnswer(Exception):
    """The client is refused. `is_refusal`: because the authenticator says so; else it is wrong."""

    def __init__(self, message: str, *, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal


class Answer(Struct, frozen=True):
    """An answer as a dictionary; what else it contains is ignored."""

    role: Name
    authid: Name | None = None
    realm: str | None = None
    extra: dict[str, Any] | None = None
    secret: str | None = None
    salt: str | None = None
    iterations: int = 1000
    keylen: int = 32
    pubkey: str | None = None
    pubkeys: Keys = []
    authorized_keys: Keys = []

    @property
    def keys(self) -> list[str]:
        """All public keys, in lower case."""
        keys = [*self.pubkeys, *self.authorized_keys]
        return [key.lower() for key in ([*keys, self.pubkey] if self.pubkey else keys)]


class Principal(Struct, frozen=True):
    """Who the client is, if it proves what its method wants. extra: `authextra` of WELCOME."""

    user: User
    extra: dict[str, Any]


def read_answer(
    value: object, method: str, realm: str, authid: str | None, pubkey: str, realms: Container[str]
) -> Principal:
    """Return who the client is.

    realm, authid, pubkey: those that the client has named; the answer may replace the first two.
    realms: all that there are. Raises BadAnswer.
    """
    if value is None or value is False:
        raise BadAnswer("the authenticator says no", is_refusal=True)
    try:
        answer = msgspec.convert({"role": value} if isinstance(value, str) else value, Answer)
        name = msgspec.convert(answer.authid or authid, Name)
        user = User(
            name=name,
            realm=answer.realm or realm,
            role=answer.role,
            pubkeys=(pubkey,) if pubkey in answer.keys else (),
            wampcra=_wampcra(answer),
        )
        # A function's text may have what no client can be sent.
        f"{user.name}{user.role}{answer.secret}{answer.salt}".encode()
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise BadAnswer(f"the authenticator's answer is wrong: {in_words(error)}") from None
    if user.realm not in realms:
        raise BadAnswer("the authenticator's answer is wrong: there is no such realm")
    _check_method(answer, user, method)
    return Principal(user, _extra(answer))


def _wampcra(answer: Answer) -> WampCra | None:
    if answer.secret is None:
        return None
    fields: dict[str, Any] = {"key": answer.secret}
    if answer.salt:
        fields |= {
            "salt": answer.salt,
            "iterations": answer.iterations,
            "keylen": answer.keylen,
        }
    return msgspec.convert(fields, WampCra)


def _check_method(answer: Answer, user: User, method: str) -> None:
    """Raise BadAnswer if the answer is not one to that method."""
    match method:
        case "wampcra":
            if user.wampcra is None:
                raise BadAnswer("the authenticator's answer is wrong: wampcra needs a secret")
        case "cryptosign":
            if not answer.keys:
                raise BadAnswer("the authenticator's answer is wrong: cryptosign needs a pubkey")
            if not user.pubkeys:
                raise BadAnswer("the client's key is not the user's", is_refusal=True)
        case _:
            # Whoever wrote it wants a proof, which this method has not.
            if user.wampcra is not None or answer.keys:
                raise BadAnswer(
                    f"the authenticator's answer is wrong: a secret or pubkey proves no {method}"
                )


def _extra(answer: Answer) -> dict[str, Any]:
    """Return `extra` as what JSON makes of it, which each serializer can express."""
    if not answer.extra:
        return {}
    try:
        text = msgspec.json.encode(answer.extra)
        extra = msgspec.json.decode(text, type=dict[str, Any])
        msgspec.msgpack.encode(extra)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadAnswer(f"the authenticator's extra is not JSON: {error}") from None
    if len(text) > EXTRA_BYTES:
        raise BadAnswer(
            f"the authenticator's extra has {len(text)} bytes: {EXTRA_BYTES} are allowed"
        )
    return extra
