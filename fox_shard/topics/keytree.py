"""A key tree: the topics of keys, looked up by pattern.

Owns: visiting only topics that a pattern can match. Never: the values of the keys.

The tree is implied by sorted order: the topics below `a.b` are those from `a.b.` up to `a.b/`,
because `/` is the character after the dot. So a topic costs one pointer, where nodes with dicts of
their own would cost hundreds of bytes, and a walk jumps from one candidate to the next.
"""

from collections.abc import Iterator

from fox_shard.topics.pattern import EXACT, ONE, PREFIX, Pattern
from fox_shard.topics.sortedkeys import SortedKeys
from fox_shard.topics.topic import RESERVED, is_reserved

_AFTER_DOT = chr(ord(".") + 1)
_LAST_CHARACTER = chr(0x10FFFF)


class KeyTree:
    """A set of canonical topics, in code point order, that can be searched by pattern."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys = SortedKeys()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, topic: str) -> bool:
        return topic in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def add(self, topic: str) -> bool:
        """Add a topic, and return whether it is new."""
        return self._keys.add(topic)

    def discard(self, topic: str) -> bool:
        """Remove a topic, and return whether it was there."""
        return self._keys.discard(topic)

    def count_below(self, topic: str) -> int:
        """Return how many topics there are below that one."""
        return self._keys.count(topic + ".", topic + _AFTER_DOT)

    def match(self, pattern: Pattern) -> Iterator[str]:
        """Yield the topics that match, in code point order.

        The tree may change meanwhile: a topic that is added or removed then may or may not be
        yielded, all others are yielded once.
        """
        for topic in self.steps(pattern):
            if topic is not None:
                yield topic

    def steps(self, pattern: Pattern, start: str = "") -> Iterator[str | None]:
        """Yield the matching topics beyond `start`, and None for each step that finds none.

        A pattern that matches nothing may need as many steps as there are topics. The caller counts
        the steps, and may go on with them later. Otherwise like `match`.
        """
        first = start + "\0" if start else ""
        if pattern.kind == EXACT:
            found = pattern.literal >= first and pattern.literal in self._keys
            return iter([pattern.literal] if found else [])
        if pattern.kind == PREFIX:
            return self._with_prefix(pattern, first)
        if not pattern.components:
            return self._unreserved(first, None)
        return self._walk(pattern, first)

    def level(self, above: str, start: str = "") -> Iterator[tuple[str, int]]:
        """Yield what is one level below, beyond `start`: (topic, 0), or (branch, topics below it).

        above: a topic and a dot; "": the first level. A branch ends with a dot; so does the topic
        with an empty last component, which is `above` itself. Topics and branches come in code
        point order, `a` and `a-b` before `a.`.
        """
        if start.endswith(".") and start != above:
            cursor = start[:-1] + _AFTER_DOT
        else:
            cursor = start + "\0" if start else above
        while (topic := self._keys.ceiling(cursor)) is not None and topic.startswith(above):
            end = topic.find(".", len(above))
            if end < 0:
                yield topic, 0
                cursor = topic + "\0"
            else:
                yield topic[: end + 1], self.count_below(topic[:end])
                cursor = topic[:end] + _AFTER_DOT

    def _with_prefix(self, pattern: Pattern, first: str) -> Iterator[str]:
        low, high = max(first, pattern.literal), _after_prefix(pattern.literal)
        if pattern.begins_with_wildcard:
            return self._unreserved(low, high)
        return self._keys.between(low, high)

    def _unreserved(self, low: str, high: str | None) -> Iterator[str]:
        for start, end in _UNRESERVED:
            if high is not None and start >= high:
                return
            stop = end if high is None else high if end is None else min(end, high)
            if stop is None or low < stop:
                yield from self._keys.between(max(low, start), stop)

    def _walk(self, pattern: Pattern, first: str) -> Iterator[str | None]:
        """Jump from candidate to candidate; each cursor is greater than the key before it."""
        components = pattern.components
        depth = len(components)
        unreserved = pattern.begins_with_wildcard
        cursor: str | None = first
        while cursor is not None:
            key = self._keys.ceiling(cursor)
            if key is None:
                return
            parts = key.split(".", depth)
            if unreserved and is_reserved(key):
                cursor = _after_reserved(key)
                yield None
                continue
            wrong = _first_mismatch(components, parts)
            if wrong < depth:
                cursor = _next_candidate(components, parts, wrong, key)
                yield None
            elif len(parts) == depth:
                yield key
                cursor = key + "\0"
            else:
                stem = ".".join(parts[:depth])
                cursor = stem + _AFTER_DOT
                if pattern.rest:
                    yield from self._keys.between(key, cursor)
                else:
                    yield None


def _first_mismatch(components: tuple[str | None, ...], parts: list[str]) -> int:
    """Return the index of the key's first component that does not fit, or the pattern's length."""
    for place, component in enumerate(components):
        if place == len(parts) or (component is not ONE and component != parts[place]):
            return place
    return len(components)


def _next_candidate(
    components: tuple[str | None, ...], parts: list[str], wrong: int, key: str
) -> str | None:
    """Return a string after `key` and not after the next topic that may match, None if none can.

    wrong: the first place where `key`, whose components are `parts`, does not fit the pattern.
    """
    if wrong == len(parts):
        # The key is too short. If the pattern's component at its end is a literal, the next topic
        # that may match is below the key.
        return key + ("\0" if components[wrong - 1] is ONE else ".")
    wanted = ".".join([*parts[:wrong], components[wrong] or ""])
    if key < wanted:
        return wanted
    if key < wanted + ".":
        return wanted + "."
    # The wanted component has been passed: leave the subtree of the nearest wildcard above.
    for place in range(wrong - 1, -1, -1):
        if components[place] is ONE:
            return ".".join(parts[: place + 1]) + _AFTER_DOT
    return None


def _after_reserved(key: str) -> str:
    """Return a string that follows all reserved topics with this key's first component."""
    if key[0] == "$":
        return chr(ord("$") + 1)
    first, dot, _ = key.partition(".")
    return first + (_AFTER_DOT if dot else "\0")


def _after_prefix(prefix: str) -> str | None:
    """Return the least string greater than all strings with this prefix, or None."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


def _unreserved_spans() -> tuple[tuple[str, str | None], ...]:
    """Return the ranges between reserved topics: the first string, the first one beyond or None."""
    spans: list[tuple[str, str | None]] = [("", "$")]
    start = chr(ord("$") + 1)
    for name in RESERVED:
        spans += [(start, name), (name + "\0", name + ".")]
        start = name + _AFTER_DOT
    return (*spans, (start, None))


_UNRESERVED = _unreserved_spans()
