"""The user whom a web application has authenticated, and hands over with the client.

Owns: what the application says of it. Never: how the application knows; what the user may do.
"""

from typing import Any

from msgspec import Struct

from fox_shard.users.user import Name


class WebUser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who a client is: its authid, and its role.

    realm: the only one that the client may join; None: any. extra: the `authextra` of WELCOME.
    expires: when the session ends, in seconds since 1970; None: with the connection.
    """

    authid: Name
    role: Name
    realm: str | None = None
    extra: dict[str, Any] = {}
    expires: float | None = None
