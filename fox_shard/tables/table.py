"""Tables, as their definitions say: keys, columns, edges, aggregates.

Owns: a row's topic, what a row contributes to which groups, whether a row is valid.
Never: the text of definitions (see `schema`), rows that there are, sums (see `groups`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, final

from msgspec import Struct

from fox_shard.documents.filters import Filter
from fox_shard.errors import InvalidUri
from fox_shard.tables.keys import Key, component_of, value_of
from fox_shard.tables.mistakes import ROOT, InvalidRow, at, shown
from fox_shard.tables.numbers import NotANumber, text_of
from fox_shard.tables.validation import Validator
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import MAX_BYTES

Document: TypeAlias = dict[Any, Any]

Numbers: TypeAlias = tuple[str | None, ...]
"""What a row contributes to a group: for each function of the aggregate, in order, the text of a
number (see `numbers`), or None: it contributes nothing to this function. Counts get "1"."""

SUM: Final = "sum"
COUNT: Final = "count"
MIN: Final = "min"
MAX: Final = "max"
AVG: Final = "avg"
FUNCTIONS: Final = (SUM, COUNT, MIN, MAX, AVG)


class Function(Struct, frozen=True):
    """A function of an aggregate: the column that has its result, and what it is applied to."""

    name: str
    target: str
    #: Kind of the numbers (see `numbers`); NUMBER for a count.
    kind: str
    #: Whether a count counts all rows, whatever is in them.
    of_rows: bool = False


class Aggregate(Struct, frozen=True):
    """What an aggregate table computes of the rows of each group."""

    functions: tuple[Function, ...]
    #: Hash of this definition and of all edges into it: another one means other groups.
    fingerprint: str


class Contribution(NamedTuple):
    """What one row contributes by one edge: the topic of the group's row, and numbers."""

    topic: str
    numbers: Numbers


class KeyField(Struct, frozen=True):
    """A field of a key: its name in the row, and its JSON type."""

    name: str
    kind: str


class Source(Struct, frozen=True):
    """What a function gets from a row: a field, or (None) that there is the row."""

    field: str | None
    kind: str
    counted: bool


@final
class Edge:
    """A way by which rows of a table contribute to the groups of an aggregate."""

    __slots__ = ("_computed", "_filter", "_sources", "id", "key", "source", "target")

    def __init__(
        self,
        source: str,
        target: str,
        *,
        identity: str,
        key: tuple[KeyField, ...],
        sources: tuple[Source | None, ...],
        wanted: Filter | None,
        computed: bool = False,
    ) -> None:
        """key: the fields of the row that give the group's key. sources: one for each function.

        computed: whether the rows are those of an aggregate, whose numbers may be longer.
        """
        self.source = source
        self.target = target
        #: Hash of the definition; edges that mean the same have the same, also in another schema.
        self.id = identity
        #: The fields of the row that give the key of the group.
        self.key = key
        self._sources = sources
        self._filter = wanted
        self._computed = computed

    def contribution(self, document: Document) -> Contribution | None:
        """Return what a valid row contributes. Raises InvalidRow, NotANumber.

        None: nothing, because the filter does not match, or a field of the group's key is absent or
        null.
        """
        if self._filter is not None and not self._filter.matches(document):
            return None
        values = [document.get(field.name) for field in self.key]
        if None in values:
            return None
        topic = _topic(self.target, self.key, values)
        computed = self._computed
        numbers = tuple(_number(source, document, computed=computed) for source in self._sources)
        return Contribution(topic, numbers)

    def contribution_of_any(
        self, document: Document, left_out: list[str] | None = None
    ) -> Contribution | None:
        """Return the same for a row that may not be valid; see `Table.contributions_of_any`."""
        try:
            return self.contribution(document)
        except (InvalidRow, NotANumber) as error:
            if left_out is not None:
                what = error.message if isinstance(error, InvalidRow) else error
                left_out.append(f"the row contributes nothing to {self.target}: {what}")
            return None


def _number(source: Source | None, document: Document, *, computed: bool) -> str | None:
    if source is None:
        return None
    if source.field is None:
        return "1"
    value = document.get(source.field)
    if value is None:
        return None
    if source.counted:
        return "1"
    try:
        return text_of(value, source.kind, computed=computed)
    except NotANumber as error:
        raise NotANumber(f"the field {source.field} {error}") from None


def rows_below(name: str) -> Pattern:
    """Return the pattern of all rows of the table of that name, whether or not there is one."""
    return Pattern.wamp(f"{name}.#")


@final
class Table:
    """A table: rows are keys below its topic."""

    __slots__ = ("_numeric", "_validator", "aggregate", "edges", "key", "name")

    def __init__(
        self,
        name: str,
        key: tuple[KeyField, ...],
        *,
        validator: Validator,
        numeric: Mapping[str, str],
        edges: tuple[Edge, ...],
        aggregate: Aggregate | None,
    ) -> None:
        """numeric: the fields that must hold numbers, with their kinds."""
        self.name = name
        self.key = key
        #: Where its rows contribute to.
        self.edges = edges
        #: None: a table that clients publish to.
        self.aggregate = aggregate
        self._validator = validator
        self._numeric = dict(numeric)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The names of the key's fields."""
        return tuple(field.name for field in self.key)

    @property
    def rows(self) -> Pattern:
        """The pattern of all its rows, which subscribers to the table's name get."""
        return rows_below(self.name)

    @property
    def weight(self) -> int:
        """Parts of the definition, edges included: what a row is compared with."""
        return self._validator.weight

    def row_topic(self, document: Document) -> str:
        """Return the topic of the row that a document is. Raises InvalidRow."""
        return _topic(self.name, self.key, [document.get(field.name) for field in self.key])

    def topic_of(self, values: Sequence[object]) -> str:
        """Return the topic of the row with these values of the key. Raises InvalidRow."""
        if len(values) != len(self.key):
            names = ", ".join(self.primary_key)
            raise InvalidRow(ROOT, "primary_key", f"the key of {self.name} has the fields {names}")
        return _topic(self.name, self.key, values)

    def key_of(self, topic: str) -> dict[str, Key]:
        """Return the fields of the key of the row with this topic. Raises InvalidUri."""
        components = topic[len(self.name) + 1 :].split(".")
        if not topic.startswith(self.name + ".") or len(components) != len(self.key):
            names = ", ".join(self.primary_key)
            raise InvalidUri(f"{topic!r} is no row of the table {self.name}, whose key is {names}")
        try:
            return {
                field.name: value_of(component, field.kind)
                for field, component in zip(self.key, components, strict=True)
            }
        except ValueError as error:
            raise InvalidUri(
                f"{topic!r} is no row of the table {self.name}: its key must have {error}"
            ) from None

    def check(self, document: object, size: int = 0) -> tuple[Contribution | None, ...]:
        """Raise InvalidRow unless the document is a valid row; return its contributions.

        size: bytes of its encoded form. The key is another matter, see `row_topic`.
        """
        self._validator.check(document, size)
        if not isinstance(document, dict):
            raise InvalidRow(ROOT, "type", f"a row is an object, not {shown(document)}")
        for name, kind in self._numeric.items():
            value = document.get(name)
            if value is not None:
                try:
                    text_of(value, kind)
                except NotANumber as error:
                    path = at(ROOT, name)
                    raise InvalidRow(path, kind, f"{shown(value)} {error}") from None
        return self.contributions(document)

    def contributions(self, document: Document) -> tuple[Contribution | None, ...]:
        """Return what a valid row contributes by each edge, in the order of `edges`."""
        return tuple(edge.contribution(document) for edge in self.edges)

    def contributions_of_any(
        self, document: Document, left_out: list[str] | None = None
    ) -> tuple[Contribution | None, ...]:
        """Return the same for a row that may be older than the table, and not valid.

        The row contributes nothing by the edges that cannot have it; a sentence for each of them is
        added to `left_out`.
        """
        return tuple(edge.contribution_of_any(document, left_out) for edge in self.edges)


def _topic(table: str, key: tuple[KeyField, ...], values: Sequence[object]) -> str:
    topic = table
    for field, value in zip(key, values, strict=True):
        try:
            topic += "." + component_of(value, field.kind)
        except ValueError as error:
            path = at(ROOT, field.name)
            wrong = "is missing" if value is None else f"is {shown(value)}"
            raise InvalidRow(
                path, "primary_key", f"the key field {field.name} {wrong}; it must be {error}"
            ) from None
        if len(topic) > MAX_BYTES // 4 and len(topic.encode()) > MAX_BYTES:
            raise InvalidRow(ROOT, "primary_key", f"the key is longer than {MAX_BYTES} bytes")
    return topic


@final
class Rule:
    """A schema that only validates what is published to the topics of a pattern."""

    __slots__ = ("_validator", "name", "pattern")

    def __init__(self, name: str, pattern: Pattern, validator: Validator) -> None:
        self.name = name
        self.pattern = pattern
        self._validator = validator

    @property
    def weight(self) -> int:
        """Parts of the definition."""
        return self._validator.weight

    def check(self, value: object, size: int = 0) -> None:
        """Raise InvalidRow unless the value is valid. size: bytes of its encoded form."""
        self._validator.check(value, size)
