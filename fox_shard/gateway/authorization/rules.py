"""The rules of one role, compiled: which of them decides about a topic, or about a pattern.

Owns: the choice among rules. Never: who has the role; what is cached (see `permissions`).

The most specific rule that matches decides, alone (see `Pattern.specificity`): an exact one, then
the longest prefix, then the wildcard pattern with the most literal components at its beginning.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, final

from fox_shard.config import Rule
from fox_shard.topics.overlap import covers, overlap, shape_of
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie

PUBLISH: Final = 1
SUBSCRIBE: Final = 2
CALL: Final = 4
REGISTER: Final = 8
"""Bits of a decision: what may be done."""

DISCLOSED: Final = 16
"""Bit of a decision: publishers and callers are disclosed."""

UNCACHED: Final = 32
"""Bit of a decision: the rule does not want it to be kept."""

TRUST_SHIFT: Final = 8
"""The bits of a decision from this one on: the trust level of a publication or call, plus one."""

NO_TRUST_LEVEL: Final = (1 << TRUST_SHIFT) - 1
"""The highest decision without a trust level."""

UNDECIDED: Final = 64
"""Bit of a decision, the only one then: no rule decides, so the role's authorizer is asked."""

RESERVED_RULES: Final = (
    Rule(uri="wamp"),
    Rule(uri="wamp.", match="prefix"),
    Rule(uri="fox"),
    Rule(uri="fox.", match="prefix"),
    Rule(uri="$", match="prefix"),
)
"""The rules that each role with an authorizer has besides its own: reserved names need a rule."""

ACTIONS: Final = {"publish": PUBLISH, "subscribe": SUBSCRIBE, "call": CALL, "register": REGISTER}


class Extent(Enum):
    """How many of the topics that a pattern matches are allowed."""

    NOTHING = 0
    PART = 1
    EVERYTHING = 2


@final
class RuleSet:
    """The rules of one role."""

    __slots__ = ("_otherwise", "_shapes", "_trie", "decisions")

    def __init__(self, rules: Iterable[Rule], *, has_authorizer: bool = False) -> None:
        rules = [*rules]
        self._otherwise = 0
        if has_authorizer:
            self._otherwise = UNDECIDED
            own = {_pattern_of(rule) for rule in rules}
            rules += [rule for rule in RESERVED_RULES if _pattern_of(rule) not in own]
        compiled = [(_pattern_of(rule), _decision_of(rule)) for rule in rules]
        compiled.sort(key=lambda one: one[0].specificity)
        self._shapes = [shape_of(pattern) for pattern, _ in compiled]
        self.decisions = [decision for _, decision in compiled]
        # Values are indexes of the two lists: the higher, the more specific.
        self._trie: Trie[int] = Trie()
        for index, (pattern, _) in enumerate(compiled):
            self._trie.add(pattern, index)

    def __len__(self) -> int:
        """Return the number of rules."""
        return len(self._shapes)

    def decide(self, topic: str) -> int:
        """Return what may be done with one topic or procedure, as bits."""
        matching = self._trie.match(topic)
        return self.decisions[max(matching)] if matching else self._otherwise

    def decides_all(self, pattern: Pattern) -> bool:
        """Whether one rule matches all that the pattern matches, so that nothing is undecided."""
        if pattern.is_exact:
            return self.decide(pattern.literal) != UNDECIDED
        shape = shape_of(pattern)
        return not self._otherwise or any(covers(rule, shape) for rule in self._shapes)

    def extent(self, pattern: Pattern, action: int, *, rest: bool = False) -> Extent:
        """Return for how much of a pattern the action, a bit, is allowed.

        rest: whether it is allowed for what is undecided.
        EVERYTHING and NOTHING are certain. PART may be either, as two patterns may seem to overlap.
        """
        if pattern.is_exact:
            decision = self.decide(pattern.literal)
            allowed = rest if decision == UNDECIDED else decision & action
            return Extent.EVERYTHING if allowed else Extent.NOTHING
        allows = denies = False
        # Beginning with the most specific one, down to the first that leaves nothing to the others.
        shape = shape_of(pattern)
        for rule, decision in zip(reversed(self._shapes), reversed(self.decisions), strict=True):
            if not overlap(rule, shape):
                continue
            if decision & action:
                allows = True
            else:
                denies = True
            if covers(rule, shape):
                break
        else:
            allows, denies = allows or rest, denies or not rest
        if not allows:
            return Extent.NOTHING
        return Extent.PART if denies else Extent.EVERYTHING


def _pattern_of(rule: Rule) -> Pattern:
    if rule.match == "mqtt":
        return Pattern.mqtt(rule.uri)
    return Pattern.wamp(rule.uri, rule.match)


def _decision_of(rule: Rule) -> int:
    bits = sum({ACTIONS[action] for action in rule.allow})
    bits |= DISCLOSED * rule.disclose | UNCACHED * (not rule.cache)
    return bits | (rule.trustlevel + 1) << TRUST_SHIFT
