"""A pattern: the set of topics that a subscription or registration covers.

Owns: both rule sets (WAMP match policies, MQTT filters), the form in which patterns cross links,
which of two patterns is more specific.
Never: indexes over patterns (see `trie`) or topics (see `keytree`).

A pattern is parsed once, at the edge, from the client's notation. From then on, no code looks for
wildcard characters in text, because a topic may contain `*`, `+` and `#` as ordinary characters.
"""

from collections.abc import Iterable
from typing import Final, Self

import msgspec

from fox_shard.errors import InvalidArgument, InvalidUri, ProtocolViolation
from fox_shard.topics.topic import check_mqtt_string, check_topic, is_reserved, to_wamp

EXACT: Final = 0
PREFIX: Final = 1
WILDCARD: Final = 2

#: The marker, among a pattern's components, for exactly one component of any text.
ONE: Final = None

_TEXT_KINDS: Final = {"=": EXACT, "^": PREFIX, "*": WILDCARD}
_TEXT_ONE: Final = "+"
_TEXT_REST: Final = "#"
_TEXT_LITERAL: Final = "="
_TEXT_ESCAPED: Final = (_TEXT_ONE, _TEXT_REST, _TEXT_LITERAL)


class Pattern(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """A set of canonical topics, made by `wamp`, `mqtt` or `parse`.

    A pattern that begins with a wildcard matches no reserved topic ([MQTT-4.7.2-1] for `$…`; the
    same for `wamp` and `fox`). A prefix counts as beginning with a wildcard unless its first
    component is reserved: `wam` does not match `wamp.x`, but `wamp` does, and `$S` matches `$SYS`.
    """

    kind: int
    #: EXACT: the topic. PREFIX: the characters with which topics begin. WILDCARD: "".
    literal: str
    #: WILDCARD: literal components and `ONE` markers. Otherwise empty.
    components: tuple[str | None, ...] = ()
    #: WILDCARD: whether zero or more components may follow (`a.#` matches `a`, MQTT 4.7.1.2).
    rest: bool = False

    @classmethod
    def wamp(cls, uri: str, match: str = "exact") -> Self:
        """Parse the topic or procedure of a SUBSCRIBE or REGISTER.

        match: `exact`, `prefix` or `wildcard` (WAMP #pattern-based-subscriptions). Under `exact`
        and `wildcard` a component `*` stands for one component and a last component `#` for any
        number of them; under `wildcard` an empty component stands for one. A URI without wildcards
        gives another pattern under `wildcard` than under `exact`. Under `prefix` every character is
        literal, and the prefix may be empty or end with a dot.
        Raises InvalidUri, InvalidArgument.
        """
        if match == "exact":
            if "*" in uri or "#" in uri:
                return cls._from_wamp_components(uri, empty_is_one=False)
            check_topic(uri, reserved_ok=True)
            return cls(EXACT, uri)
        if match == "wildcard":
            return cls._from_wamp_components(uri, empty_is_one=True)
        if match == "prefix":
            if uri:
                check_topic(uri.removesuffix("."), reserved_ok=True)
            return cls(PREFIX, uri)
        raise InvalidArgument(
            f"the option match is {match!r}; it must be 'exact', 'prefix' or 'wildcard'"
        )

    @classmethod
    def mqtt(cls, filter_: str) -> Self:
        """Parse an MQTT topic filter (MQTT-4.7.1, MQTT-4.7.3).

        Raises ProtocolViolation with reason 0x8F (topic filter invalid).
        """
        check_mqtt_string(filter_, 0x8F)
        if "+" not in filter_ and "#" not in filter_:
            return cls(EXACT, to_wamp(filter_))
        levels = filter_.split("/")
        rest = levels[-1] == "#"
        if rest:
            levels.pop()
        components: list[str | None] = []
        for level in levels:
            if level == "+":
                components.append(ONE)
            elif "+" in level or "#" in level:
                raise ProtocolViolation(
                    f"in the filter {filter_!r} '+' must be a whole level [MQTT-4.7.1-3]"
                    " and '#' the whole last level [MQTT-4.7.1-2]",
                    0x8F,
                )
            else:
                components.append(to_wamp(level))
        return cls(WILDCARD, "", tuple(components), rest)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern with this `text`. Raises ValueError if it is no pattern's text."""
        kind = _TEXT_KINDS.get(text[:1])
        if kind is None:
            raise ValueError(f"{text!r} does not begin with the mark of a kind of pattern")
        if kind != WILDCARD:
            return cls(kind, text[1:])
        parts = text[1:].split(".")
        rest = parts[-1] == _TEXT_REST
        if rest:
            parts.pop()
        components = tuple(
            ONE if part == _TEXT_ONE else part.removeprefix(_TEXT_LITERAL) for part in parts
        )
        pattern = cls(WILDCARD, "", components, rest)
        literal = not rest and ONE not in components
        if pattern.text != text or (literal and "" in components):
            raise ValueError(f"{text!r} is not the canonical text of a pattern")
        return pattern

    @property
    def text(self) -> str:
        """The form that crosses process links; different patterns have different texts.

        `=` and the topic; `^` and the prefix; `*` and components joined by dots, where `+` is ONE,
        a last `#` is REST, and a literal that begins with `+`, `#` or `=` has a `=` before it.
        """
        if self.kind == EXACT:
            return "=" + self.literal
        if self.kind == PREFIX:
            return "^" + self.literal
        parts = [
            _TEXT_ONE
            if component is ONE
            else _TEXT_LITERAL + component
            if component.startswith(_TEXT_ESCAPED)
            else component
            for component in self.components
        ]
        if self.rest:
            parts.append(_TEXT_REST)
        return "*" + ".".join(parts)

    @property
    def shown(self) -> tuple[str, str]:
        """The URI and the policy in WAMP, of which `wamp` makes this pattern.

        A component that is literally `*` or empty, which only MQTT has in a wildcard pattern, looks
        like ONE.
        """
        if self.kind == EXACT:
            return self.literal, "exact"
        if self.kind == PREFIX:
            return self.literal, "prefix"
        parts = ["" if component is ONE else component for component in self.components]
        return ".".join([*parts, *(["#"] if self.rest else [])]), "wildcard"

    @property
    def is_exact(self) -> bool:
        """Whether the pattern is a single topic."""
        return self.kind == EXACT

    @property
    def topic(self) -> str:
        """The one topic of an exact pattern. Raises ValueError for any other."""
        if self.kind != EXACT:
            raise ValueError(f"{self.text!r} is not one topic")
        return self.literal

    @property
    def begins_with_wildcard(self) -> bool:
        """Whether the pattern matches no reserved topics."""
        if self.kind == WILDCARD:
            return not self.components or self.components[0] is ONE
        return self.kind == PREFIX and not is_reserved(self.literal)

    def matches(self, topic: str) -> bool:
        """Whether the pattern matches a canonical topic; slow, and the reference for indexes."""
        if self.kind == EXACT:
            return topic == self.literal
        if self.begins_with_wildcard and is_reserved(topic):
            return False
        if self.kind == PREFIX:
            return topic.startswith(self.literal)
        parts = topic.split(".")
        if len(parts) < len(self.components) or (
            len(parts) > len(self.components) and not self.rest
        ):
            return False
        return all(
            component is ONE or component == part
            for component, part in zip(self.components, parts, strict=False)
        )

    @property
    def specificity(self) -> tuple[int, tuple[int, ...], bool]:
        """The rank among patterns that match one procedure: the highest registration is called.

        Exact patterns come first, then the longest prefix, then the wildcard pattern with the
        longest run of literal components before its first wildcard, then before its second, and so
        on (WAMP #pattern-based-registrations). Different patterns that match the same procedure
        have different ranks.
        """
        if self.kind == EXACT:
            return (2, (), True)
        if self.kind == PREFIX:
            return (1, (len(self.literal),), True)
        runs = [0]
        for component in self.components:
            if component is ONE:
                runs.append(0)
            else:
                runs[-1] += 1
        return (0, tuple(runs), not self.rest)

    @classmethod
    def _from_wamp_components(cls, uri: str, *, empty_is_one: bool) -> Self:
        parts = uri.split(".")
        rest = parts[-1] == "#"
        if rest:
            parts.pop()
        components: list[str | None] = []
        for part in parts:
            if part == "*" or (empty_is_one and not part):
                components.append(ONE)
            elif "#" in part:
                raise InvalidUri(f"in {uri!r} '#' must be the whole last component")
            else:
                check_topic(part, reserved_ok=True)
                components.append(part)
        if empty_is_one or rest or ONE in components:
            return cls(WILDCARD, "", tuple(components), rest)
        return cls(EXACT, uri)


def best(patterns: Iterable[Pattern], topic: str) -> Pattern | None:
    """Return the most specific pattern that matches the topic, or None.

    See `Pattern.specificity`.
    """
    matching = (pattern for pattern in patterns if pattern.matches(topic))
    return max(matching, key=lambda pattern: pattern.specificity, default=None)
