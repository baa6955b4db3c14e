"""A trie: an index from patterns to values, looked up by topic.

Owns: the index. Never: what the values are; caching (see `cache`).

Exact patterns, by far the most, are in one flat dict. The others form a tree of components; a WAMP
prefix is stored at the node of its last whole component, because the rest of the prefix is the
beginning of a component.
"""

from typing import Generic, TypeVar

from fox_shard.topics.pattern import EXACT, PREFIX, Pattern
from fox_shard.topics.topic import is_reserved

V = TypeVar("V")

# The values of one pattern, in order of arrival. Few values are a tuple (48 bytes for one, against
# 224 for a dict; most topics have one subscriber), many are a dict, so that adding and removing
# take constant time.
_Values = tuple[V, ...] | dict[V, None]
_FEW = 8


class Trie(Generic[V]):
    """A set of (pattern, value) pairs that can be searched by topic."""

    __slots__ = ("_exact", "_root", "_size")

    def __init__(self) -> None:
        self._exact: dict[str, _Values[V]] = {}
        self._root: _Node[V] = _Node()
        self._size = 0

    def __len__(self) -> int:
        """Return the number of (pattern, value) pairs."""
        return self._size

    def add(self, pattern: Pattern, value: V) -> bool:
        """Add a value to a pattern, and return whether the pair is new."""
        if pattern.kind == EXACT:
            added = _put(self._exact, pattern.literal, value)
        elif pattern.kind == PREFIX:
            node = self._root
            path, partial = _split_prefix(pattern.literal)
            for whole in path:
                node = node.grow(whole)
            added = _put(node.prefixes_of(len(partial)), partial, value)
        else:
            node = self._root
            for component in pattern.components:
                node = node.grow(component)
            added = node.put(value, rest=pattern.rest)
        self._size += added
        return added

    def remove(self, pattern: Pattern, value: V) -> bool:
        """Remove a value from a pattern, and return whether the pair was there."""
        if pattern.kind == EXACT:
            removed = _take(self._exact, pattern.literal, value)
        elif pattern.kind == PREFIX:
            removed = self._remove_prefix(pattern, value)
        else:
            trail = self._trail(pattern.components)
            removed = trail is not None and trail[-1].take(value, rest=pattern.rest)
            if trail is not None and removed:
                _prune(trail, pattern.components)
        self._size -= removed
        return removed

    def match(self, topic: str) -> list[V]:
        """Return the values of all patterns that match a canonical topic, each value once.

        The order is deterministic: exact patterns first, then level by level, and within a pattern
        by arrival.
        """
        exact = self._exact.get(topic, ())
        if self._root.is_bare():
            return list(exact)
        found: list[V] = list(exact)
        reserved = is_reserved(topic)
        if not reserved:
            found.extend(self._root.rest)
        nodes = [self._root]
        for part in topic.split("."):
            below: list[_Node[V]] = []
            for node in nodes:
                node.step(part, below, found, reserved=reserved)
            for node in below:
                found.extend(node.rest)
            nodes = below
            if not nodes:
                break
            reserved = False  # only the first component is out of a wildcard's reach
        for node in nodes:
            found.extend(node.end)
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def _remove_prefix(self, pattern: Pattern, value: V) -> bool:
        path, partial = _split_prefix(pattern.literal)
        trail = self._trail(path)
        if trail is None or trail[-1].prefixes is None:
            return False
        by_length = trail[-1].prefixes
        same_length = by_length.get(len(partial), {})
        if not _take(same_length, partial, value):
            return False
        if not same_length:
            del by_length[len(partial)]
        if not by_length:
            trail[-1].prefixes = None
        _prune(trail, path)
        return True

    def _trail(self, path: tuple[str | None, ...]) -> "list[_Node[V]] | None":
        """Return the nodes along a path, the root first, or None if one of them does not exist."""
        trail = [self._root]
        for component in path:
            node = trail[-1].child(component)
            if node is None:
                return None
            trail.append(node)
        return trail


class _Node(Generic[V]):
    """The patterns that share their first components. Absent parts are None, to save memory."""

    __slots__ = ("children", "end", "one", "prefixes", "rest")

    def __init__(self) -> None:
        #: Nodes by their next literal component.
        self.children: dict[str, _Node[V]] | None = None
        #: The node for any next component.
        self.one: _Node[V] | None = None
        #: Values of the patterns that end here.
        self.end: _Values[V] = ()
        #: Values of the patterns after which zero or more components may follow.
        self.rest: _Values[V] = ()
        #: Values by the beginning of the next component, grouped by the beginning's length.
        self.prefixes: dict[int, dict[str, _Values[V]]] | None = None

    def is_bare(self) -> bool:
        return not (self.children or self.one or self.end or self.rest or self.prefixes)

    def child(self, component: str | None) -> "_Node[V] | None":
        if component is None:
            return self.one
        return None if self.children is None else self.children.get(component)

    def grow(self, component: str | None) -> "_Node[V]":
        """Return the child for a component (None: any one), which is created if necessary."""
        node = self.child(component)
        if node is None:
            node = _Node()
            if component is None:
                self.one = node
            elif self.children is None:
                self.children = {component: node}
            else:
                self.children[component] = node
        return node

    def drop(self, component: str | None) -> None:
        if component is None:
            self.one = None
            return
        children = self.children or {}
        del children[component]
        if not children:
            self.children = None

    def put(self, value: V, *, rest: bool) -> bool:
        values = _with(self.rest if rest else self.end, value)
        if values is None:
            return False
        if rest:
            self.rest = values
        else:
            self.end = values
        return True

    def take(self, value: V, *, rest: bool) -> bool:
        values = _without(self.rest if rest else self.end, value)
        if values is None:
            return False
        if rest:
            self.rest = values
        else:
            self.end = values
        return True

    def prefixes_of(self, length: int) -> dict[str, _Values[V]]:
        if self.prefixes is None:
            self.prefixes = {}
        return self.prefixes.setdefault(length, {})

    def step(self, part: str, below: "list[_Node[V]]", found: list[V], *, reserved: bool) -> None:
        """Take one component of a topic: collect the next nodes, and the values of prefixes.

        below: gets the nodes that match `part`. found: gets the values of prefixes that match it.
        reserved: `part` is the first component of a reserved topic, which no wildcard matches.
        """
        if self.prefixes is not None:
            # One look-up for each length that occurs, however many prefixes there are.
            for length, values_of in self.prefixes.items():
                values = values_of.get(part[:length]) if length <= len(part) else None
                if values is not None and (not reserved or is_reserved(part[:length])):
                    found.extend(values)
        if self.children is not None:
            child = self.children.get(part)
            if child is not None:
                below.append(child)
        if self.one is not None and not reserved:
            below.append(self.one)


def _split_prefix(prefix: str) -> tuple[tuple[str, ...], str]:
    """Split `a.b.ca` into its whole components `a`, `b` and the beginning `ca` of the next."""
    *path, partial = prefix.split(".")
    return tuple(path), partial


def _prune(trail: list[_Node[V]], path: tuple[str | None, ...]) -> None:
    """Remove the nodes at the end of a trail that have become empty."""
    for depth in range(len(path) - 1, -1, -1):
        if not trail[depth + 1].is_bare():
            return
        trail[depth].drop(path[depth])


def _put(values_of: dict[str, _Values[V]], key: str, value: V) -> bool:
    values = _with(values_of.get(key, ()), value)
    if values is None:
        return False
    values_of[key] = values
    return True


def _take(values_of: dict[str, _Values[V]], key: str, value: V) -> bool:
    values = _without(values_of.get(key, ()), value)
    if values is None:
        return False
    if values:
        values_of[key] = values
    else:
        del values_of[key]
    return True


def _with(values: _Values[V], value: V) -> _Values[V] | None:
    """Return the values with one more, or None if it is among them; may change a dict in place."""
    if value in values:
        return None
    if isinstance(values, tuple):
        if len(values) < _FEW:
            return (*values, value)
        values = dict.fromkeys(values)
    values[value] = None
    return values


def _without(values: _Values[V], value: V) -> _Values[V] | None:
    """Return the values without one, or None if it is not among them; may change a dict."""
    if value not in values:
        return None
    if isinstance(values, tuple):
        return tuple(other for other in values if other != value)
    del values[value]
    return values
