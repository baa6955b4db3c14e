"""A profile: what everybody sees of a user who asks for a challenge, and of one that is not there.

Owns: which users look alike, and like whom an unknown name looks. Never: users, challenges.

A client may offer several methods and gets the first for which its user has something, with the
user's costs. So a name without a user must look like some user of its realm, or the challenge would
tell who exists. Each such name has one of the realm's profiles, chosen by a keyed hash of both: the
choice is the same at all gateways, and changes only with the profiles that there are.
"""

import hmac
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

CONSIDERED: Final = 32
"""Profiles of one realm among which the choice is made. Most realms have one or two."""


class ScramProfile(NamedTuple):
    """What SCRAM shows of a user. autobahn: whether the keys of autobahn's variant are there."""

    kdf: str
    iterations: int
    memory: int
    autobahn: bool


class WampCraProfile(NamedTuple):
    """What WAMP-CRA shows of a user. salted: whether the key was derived from a password."""

    salted: bool
    iterations: int
    keylen: int


class Profile(NamedTuple):
    """What a user has. None: nothing for that method."""

    password: bool
    scram: ScramProfile | None
    wampcra: WampCraProfile | None


def profile_of_nobody(name: str, profiles: Iterable[Profile], secret: bytes) -> Profile | None:
    """Return the profile of a name without a user; None: there are no users at all.

    profiles: of the realm's users. secret: the same at all gateways, and known to no client.
    """

    def weight(profile: Profile) -> bytes:
        return hmac.digest(secret, repr((name, profile)).encode("utf-8", "replace"), "sha256")

    return max(islice(profiles, CONSIDERED), key=weight, default=None)
