"""What the sessions of one role may do in one realm.

Owns: decisions that are kept, and the sentences of refusals. Never: how rules are chosen (see
`rules`), what a request needs.
"""

from typing import Final, final

from fox_shard.config import Role
from fox_shard.errors import NotAuthorized
from fox_shard.gateway.authorization.rules import (
    CALL,
    PUBLISH,
    REGISTER,
    SUBSCRIBE,
    UNCACHED,
    UNDECIDED,
    Extent,
    RuleSet,
)
from fox_shard.topics.pattern import Pattern

MOST_KEPT: Final = 20_000
"""The most decisions that are kept for a role. Clients decide how many topics there are."""

KEPT_CHARACTERS: Final = 1 << 22
"""The most characters of their topics and patterns, together."""

UNITS_OF_A_RULE: Final = 2
"""Units (see `Turns`) for the comparison of a pattern with one rule, which takes 0.2 µs, or 1
if both are wildcard patterns that overlap."""

_VERBS: Final = {
    PUBLISH: "publish to",
    SUBSCRIBE: "subscribe to",
    CALL: "call",
    REGISTER: "register",
}
_SHOWN: Final = 100
"""Characters of a topic that a refusal repeats."""


@final
class Permissions:
    """The permissions of one role, which all its sessions share.

    kept: topic -> decision. A hot caller looks there first, which saves a call, and then calls
    `decide`. readable_tables: which tables its sessions may know of, and of which tables these were
    chosen; maintained by `ReadableTables`.
    """

    __slots__ = (
        "_characters",
        "_extents",
        "_rules",
        "authorizer",
        "cache",
        "kept",
        "readable_tables",
        "role",
        "timeout",
    )

    def __init__(self, role: Role) -> None:
        self.role = role.name
        # Who is asked where no rule decides; "": nobody. And the settings of the same names.
        self.authorizer = role.authorizer
        self.timeout, self.cache = role.authorizer_timeout, role.authorizer_cache
        self._rules = RuleSet(role.rule, has_authorizer=bool(role.authorizer))
        self.kept: dict[str, int] = {}
        self._extents: dict[tuple[str, int, bool], Extent] = {}
        self.readable_tables: tuple[object, frozenset[str]] | None = None
        # Of all topics and patterns that are kept.
        self._characters = 0

    @property
    def rules(self) -> int:
        """How many rules there are, at least 1."""
        return len(self._rules) or 1

    def cost(self, action: int, pattern: Pattern) -> int:
        """Return the units (see `Turns`) that a decision about a pattern costs; 0: it is known."""
        if pattern.is_exact or (pattern.text, action, False) in self._extents:
            return 0
        return UNITS_OF_A_RULE * len(self._rules)

    def decide(self, topic: str) -> int:
        """Return what may be done with a topic or procedure, as bits (see `rules`)."""
        decision = self.kept.get(topic)
        if decision is None:
            decision = self._rules.decide(topic)
            if not decision & UNCACHED and self._has_room(len(topic)):
                self.kept[topic] = decision
        return decision

    def may(self, action: int, topic: str) -> bool:
        """Whether the action, a bit, is allowed for a topic or procedure."""
        return self.decide(topic) & action != 0

    def may_see(self, topic: str) -> bool:
        """Whether a session that has subscribed may see that topic, which its pattern matches.

        What no rule decides, the authorizer has allowed: it was asked about the pattern.
        """
        return self.decide(topic) & (SUBSCRIBE | UNDECIDED) != 0

    def asks_about(self, pattern: Pattern) -> bool:
        """Whether something that the pattern matches is undecided by rules."""
        return bool(self.authorizer) and not self._rules.decides_all(pattern)

    def check(self, action: int, topic: str) -> None:
        """Raise NotAuthorized unless a rule allows the action."""
        if not self.decide(topic) & action:
            raise self.refusal(action, topic)

    def extent(self, action: int, pattern: Pattern, *, rest: bool = False) -> Extent:
        """Return for how much of a pattern the action is allowed.

        rest: whether it is allowed for what is undecided.
        """
        text = pattern.text
        extent = self._extents.get((text, action, rest))
        if extent is None:
            extent = self._rules.extent(pattern, action, rest=rest)
            if self._has_room(len(text)):
                self._extents[text, action, rest] = extent
        return extent

    def check_any(self, action: int, pattern: Pattern, *, rest: bool = False) -> None:
        """Raise NotAuthorized if the action is allowed for nothing that the pattern matches.

        rest: whether it is allowed for what is undecided.
        """
        if self.extent(action, pattern, rest=rest) is Extent.NOTHING:
            raise self.refusal(action, pattern.shown[0])

    def check_all(self, action: int, pattern: Pattern, *, rest: bool = False) -> None:
        """Raise NotAuthorized unless the action is allowed for all that the pattern matches."""
        extent = self.extent(action, pattern, rest=rest)
        if extent is not Extent.EVERYTHING:
            raise self.refusal(action, pattern.shown[0], all_of=extent is Extent.PART)

    def sees_all(self, pattern: Pattern) -> bool:
        """Whether a session that has subscribed may see all that the pattern matches."""
        return self.extent(SUBSCRIBE, pattern, rest=True) is Extent.EVERYTHING

    def refusal(self, action: int, topic: str, *, all_of: bool = False) -> NotAuthorized:
        """Return the refusal of an action. all_of: a part of the pattern would be allowed."""
        shown = topic if len(topic) <= _SHOWN else f"{topic[:_SHOWN]}…"
        what = f"all of {shown!r}" if all_of else repr(shown)
        return NotAuthorized(f"the role {self.role!r} may not {_VERBS[action]} {what}")

    def _has_room(self, size: int) -> bool:
        """Make room for what is to be kept, and return whether it is short enough. size: of it."""
        if size > KEPT_CHARACTERS >> 4 or not len(self._rules):
            return False
        full = len(self.kept) + len(self._extents) >= MOST_KEPT
        if full or self._characters + size > KEPT_CHARACTERS:
            self.kept.clear()
            self._extents.clear()
            self._characters = 0
        self._characters += size
        return True
