"""The realm of clients that name none in HELLO (WAMP #authentication leaves it to the router).

Owns: which realm that is. Never: HELLO, who the client is.
"""

from collections.abc import Iterable

from fox_shard.config import Realm


def assigned_realm(realms: Iterable[Realm]) -> str:
    """Return the name of the realm of such clients; "": they must name one.

    The configuration alone decides, and not which users there are: otherwise the realm, or the
    challenge of it, would tell in which realm somebody is a user. An authenticator may still answer
    with another realm.
    """
    all_ = [*realms]
    with_authenticator = [realm for realm in all_ if realm.authenticator]
    candidates = with_authenticator or all_
    return candidates[0].name if len(candidates) == 1 else ""
