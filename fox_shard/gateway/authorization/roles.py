"""The roles of all realms: which permissions a session has.

Owns: what a role without rules may do. Never: the rules (see `rules`).
"""

from collections.abc import Iterable
from typing import Final, final

from msgspec.structs import replace

from fox_shard.config import Realm, Role, Rule
from fox_shard.gateway.authorization.permissions import Permissions

WORKER: Final = ("fox.worker", "worker")
"""Name and role of the server's own worker. No user can be called so, and no client id makes an
anonymous client's role."""


@final
class Roles:
    """The permissions of the roles of each realm.

    in_use: whether any realm has roles; if not, nobody is ever refused. have_authorizers: whether
    anybody is ever asked.
    """

    __slots__ = ("_of_realm", "have_authorizers", "in_use")

    def __init__(self, realms: Iterable[Realm]) -> None:
        self._of_realm = {
            realm.name: {role.name: Permissions(_without_users(role, realm)) for role in realm.role}
            for realm in realms
            if realm.role
        }
        self.in_use = bool(self._of_realm)
        self.have_authorizers = any(
            role.authorizer for roles in self._of_realm.values() for role in roles.values()
        )

    def permissions(self, realm: str, authid: str, authrole: str) -> Permissions | None:
        """Return what a session may do; None: everything, as the realm has no roles.

        In a realm with roles, a role that is not among them may do nothing.
        """
        roles = self._of_realm.get(realm)
        if roles is None or (authid, authrole) == WORKER:
            return None
        found = roles.get(authrole)
        return Permissions(Role(name=authrole)) if found is None else found


def _without_users(role: Role, realm: Realm) -> Role:
    """Return the role, without the keys that have the realm's users, unless a rule names them.

    Only a prefix that begins as they do, or an exact topic, names them: wider rules, and patterns,
    are less specific than the one that is added.
    """
    head = realm.users.removesuffix("*")
    if not head or any(rule.match == "prefix" and rule.uri == head for rule in role.rule):
        return role
    return replace(role, rule=(*role.rule, Rule(uri=head, match="prefix")))
