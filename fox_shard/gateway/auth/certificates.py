"""What TLS proves: the user in a client's certificate, and the connection of a signature.

Owns: the authmethod `tls`, the channel ID of cryptosign. Never: certificates themselves: TLS has
verified them, and the listener has chosen the name.
"""

from hashlib import sha256
from typing import Final

from fox_shard.gateway.clients.access import Access
from fox_shard.users.user import User, Users

TLS: Final = "tls"

TLS_UNIQUE: Final = "tls-unique"
"""The only channel binding (RFC 5929); there is none in TLS 1.3."""


def certified_user(
    users: Users, realm: str, name: str | None, access: Access | None
) -> User | None:
    """Return the user of the realm that the client's certificate names; None: there is none.

    name: who the client says it is; None: whoever the certificate names.
    """
    if access is None or access.user is None or name not in (None, access.user):
        return None
    return users.find(realm, access.user)


def channel_id(access: Access | None, wanted: object) -> bytes:
    """Return the 32 bytes of the channel that the client wants to be bound to.

    wanted: `channel_binding` of HELLO. Empty if it wants none, or there is none of that kind: the
    client is told so in CHALLENGE (WAMP #channelbinding), and decides.
    """
    if access is None or wanted != TLS_UNIQUE or not access.channel_binding:
        return b""
    return sha256(access.channel_binding).digest()
