"""Definitions: the schemas by which a shard works.

Owns: which schema of each realm is active, and which is stored to become so. Never: what a schema
means (see `fox_shard.tables`), rows of tables, who decides on schemas (the coordinator).

A schema is active from the moment at which the coordinator says so, and its row is in the
transaction of that turn. The coordinator is told when that is durable and all gateways have it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, final

from fox_shard.backplane.frames import ActiveTables, DefineTables, Frame, TablesDefined
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.links.recipients import last_numbers, recipients
from fox_shard.store.journal import Journal
from fox_shard.tables.mistakes import SchemaError
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Rule, Table
from fox_shard.topics.cache import MatchCache

OnActive = Callable[[str, TableSet, TableSet], None]
"""Called with a realm, the schema that was active, and the one that is from now on."""

BYTES_PER_UNIT: Final = 64
"""Bytes of a schema that cost a unit of the turn's budget."""

TOPICS_LIMIT: Final = 100_000
"""Topics of a realm of which it is remembered what the schema says about them."""


class About(NamedTuple):
    """What the schema says about a topic: it belongs to a table, or has rules."""

    table: Table | None
    rules: list[Rule]


_UNKNOWN: Final = About(None, [])
_NONE: Final = TableSet.parse("{}")


class _Definition(NamedTuple):
    version: int
    tables: TableSet


class _Uncommitted(NamedTuple):
    """A step that is not durable, and the peer that waits for it.

    ticket: of the transaction that has the step's row. If the commit fails, the next transaction,
    which has a higher ticket, has the row.
    """

    ticket: int
    peer: Peer
    frame: DefineTables


_UNDEFINED: Final = _Definition(0, _NONE)


@final
class Definitions:
    """The schemas of all realms on one shard."""

    __slots__ = (
        "_about",
        "_active",
        "_budget",
        "_journal",
        "_next",
        "_peers",
        "_uncommitted",
        "active",
        "on_active",
    )

    def __init__(
        self,
        journal: Journal,
        peers: Mapping[str, Peer],
        budget: Budget,
    ) -> None:
        """peers: by name."""
        self._active: dict[str, _Definition] = {}
        self._next: dict[str, _Definition] = {}
        self._journal = journal
        self._peers = peers
        self._budget = budget
        self._uncommitted: deque[_Uncommitted] = deque()
        self._about: dict[str, MatchCache[About | None]] = {}
        #: The active schemas of the realms that have one.
        self.active: dict[str, TableSet] = {}
        #: Called, in order, in the turn in which a schema becomes active.
        self.on_active: list[OnActive] = []

    def load(self, realm: str, step: bytes, row: rows.DefinitionRow) -> None:
        """Load a row. Raises ValueError if this version does not understand the schema."""
        try:
            definition = _Definition(row.version, TableSet.parse(row.text))
        except SchemaError as error:
            raise ValueError(f"the stored schema of {realm}: {error.message}") from error
        if step == rows.ACTIVE:
            self._active[realm] = definition
            self.active[realm] = definition.tables
        else:
            self._next[realm] = definition

    def of(self, realm: str) -> TableSet:
        """Return the active schema of a realm, which is empty if there is none."""
        return self.active.get(realm, _NONE)

    def version_of(self, realm: str) -> int:
        """Return the version of the active schema; 0: there is none."""
        return self._active.get(realm, _UNDEFINED).version

    def stored_version_of(self, realm: str) -> int:
        """Return the version of the latest schema that this shard knows; 0: there is none."""
        return max(self.version_of(realm), self.next_version_of(realm))

    def about(self, realm: str, topic: str) -> About | None:
        """Return what the active schema of a realm says about a topic; None: nothing."""
        cache = self._about.get(realm)
        if cache is None:
            cache = self._about[realm] = MatchCache(TOPICS_LIMIT)
        found = cache.entries.get(topic, _UNKNOWN)
        if found is _UNKNOWN:
            tables = self.of(realm)
            about = About(tables.table_of(topic), tables.rules_of(topic))
            found = about if about.table is not None or about.rules else None
            cache.put(topic, found)
        return found

    def next_of(self, realm: str) -> TableSet | None:
        """Return the schema that is stored and not active, by which other shards may work."""
        definition = self._next.get(realm)
        return None if definition is None else definition.tables

    def next_version_of(self, realm: str) -> int:
        """Return the version of that schema; 0: there is none."""
        return self._next.get(realm, _UNDEFINED).version

    def announcements(self) -> list[Frame]:
        """Return what gateways and the coordinator must know when a link opens."""
        waiting = {one.frame.realm for one in self._uncommitted if one.frame.active}
        return [
            ActiveTables(realm, definition.version, definition.tables.text)
            for realm, definition in self._active.items()
            if realm not in waiting
        ]

    def define(self, peer: Peer, frame: DefineTables) -> None:
        """Store a schema, or make it active; `peer` is told when that is done."""
        active = self._active.get(frame.realm, _UNDEFINED)
        if frame.version < active.version:
            return
        following = self._next.get(frame.realm)
        if frame.version == active.version:
            ticket = self._ticket_of(frame.realm)
        elif frame.active:
            self._activate(frame, active)
            ticket = self._journal.ticket
        elif following is not None and following.version == frame.version:
            ticket = self._ticket_of(frame.realm)
        else:
            self._prepare(frame)
            ticket = self._journal.ticket
        step = _Uncommitted(ticket, peer, frame)
        if ticket:
            self._uncommitted.append(step)
        else:
            self._confirm(step)

    def _ticket_of(self, realm: str) -> int:
        """Return the ticket of the last transaction with rows of the realm; 0: it is durable."""
        steps = (step.ticket for step in reversed(self._uncommitted) if step.frame.realm == realm)
        return next(steps, 0)

    def _prepare(self, frame: DefineTables) -> None:
        self._next[frame.realm] = self._read(frame)
        row = rows.DefinitionRow(frame.version, frame.text)
        self._journal.keep(rows.definition(frame.realm, rows.NEXT), rows.encode(row))

    def _activate(self, frame: DefineTables, before: _Definition) -> None:
        realm = frame.realm
        following = self._next.get(realm)
        if following is not None and following.version <= frame.version:
            del self._next[realm]
            self._journal.keep(rows.definition(realm, rows.NEXT), None)
        if following is None or following.version != frame.version:
            following = self._read(frame)
        self._active[realm] = following
        self.active[realm] = following.tables
        self._about.pop(realm, None)
        row = rows.DefinitionRow(frame.version, frame.text)
        self._journal.keep(rows.definition(realm, rows.ACTIVE), rows.encode(row))
        for tell in self.on_active:
            tell(realm, before.tables, following.tables)

    def _read(self, frame: DefineTables) -> _Definition:
        self._budget.spend(len(frame.text) // BYTES_PER_UNIT)
        return _Definition(frame.version, TableSet.parse(frame.text))

    # The store

    def committed(self, ticket: int) -> None:
        """Tell the gateways of schemas that are active durably, and confirm durable steps."""
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0].ticket <= ticket:
            self._confirm(uncommitted.popleft())

    def _confirm(self, done: _Uncommitted) -> None:
        frame = done.frame
        since = last_numbers(self._peers.values(), done.peer)
        if frame.active:
            for peer in self._peers.values():
                if peer.kind is Kind.GATEWAY and peer.link.open:
                    peer.link.send(ActiveTables(frame.realm, frame.version, frame.text))
        answer: list[Frame] = [TablesDefined(frame.realm, frame.version, frame.active)]
        if done.peer.link.open:
            done.peer.deliveries.add_grant(answer, recipients(since), lambda: None)
