"""The subscriptions and registrations that a program wants to have, in every session.

Owns: what is asked for, and whether the router has it now. Never: messages (see `standing`).
"""

from typing import Any, TypeAlias, final

import msgspec

from fox_shard.client.backoff import Backoff
from fox_shard.client.resumption import resumption_of


@final
class WantedSubscription:
    """A subscription of a program, or (checks: of whose keys) a snapshot of our own.

    number: the router's id; 0: none yet, in this session. confirmed: whether it ever had one.
    """

    __slots__ = (
        "backoff",
        "checks",
        "confirmed",
        "ended",
        "identity",
        "incomplete",
        "number",
        "options",
        "pattern",
        "resumption",
        "stays",
        "ticket",
    )

    def __init__(
        self,
        ticket: int,
        pattern: str,
        options: dict[str, Any],
        backoff: Backoff,
        *,
        stays: bool,
        checks: "WantedSubscription | None" = None,
    ) -> None:
        self.ticket = ticket
        self.pattern = pattern
        self.options = options
        self.identity = identity_of(pattern, options)
        self.resumption = resumption_of(options)
        self.stays = stays
        self.backoff = backoff
        self.checks = checks
        self.number = 0
        self.confirmed = False
        # Whether the program has ended it while the router was asked.
        self.ended = False
        # Whether keys may have gone that the program knows (see `State`).
        self.incomplete = False

    @property
    def is_snapshot(self) -> bool:
        """Whether the router ends it."""
        return bool(self.options.get("snapshot"))


@final
class WantedRegistration:
    """A registration of a program. The fields are those of `WantedSubscription`."""

    __slots__ = ("backoff", "confirmed", "ended", "number", "options", "procedure", "ticket")

    def __init__(
        self, ticket: int, procedure: str, options: dict[str, Any], backoff: Backoff
    ) -> None:
        self.ticket = ticket
        self.procedure = procedure
        self.options = options
        self.backoff = backoff
        self.number = 0
        self.confirmed = False
        self.ended = False


Wanted: TypeAlias = WantedSubscription | WantedRegistration


def identity_of(pattern: str, options: dict[str, Any]) -> bytes:
    """Return what subscriptions agree in that are one for the router."""
    names = ("match", "filter", "retained", "snapshot")
    same: dict[str, Any] = {name: options[name] for name in names if options.get(name)}
    same["after"] = options.get("after") is not None
    if same.get("match") == "exact":
        del same["match"]
    return msgspec.json.encode([pattern, same], order="sorted")
