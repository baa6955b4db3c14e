"""Contributions: what the rows of this shard contribute to the groups of aggregates.

Owns: which contributions a change of a row sends, and where. Never: groups (see `builds`).

A contribution is state: it takes the place of what the row has contributed to that group, so to
send it twice changes nothing. It goes to the group's shard by the outbox, in the transaction of the
row. If that is the transaction of a request, which may fail, the contribution fails with it; so the
groups never see what has not happened. All contributions of a row to a group come in the order in
which they were sent. Two groups may hear of a change in any order, each of them from its own frame.
"""

from typing import Final, final

from fox_shard.backplane.frames import EMPTY, Contribution, Event, Publish
from fox_shard.errors import InvalidPayload, QueueFull
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.tables.builds import Build, Builds
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.tables.table import Contribution as Share
from fox_shard.tables.table import Document, Edge, Table

Shares = tuple[Share | None, ...]
"""What a row contributes by each edge of its table."""

FRAME_UNITS: Final = 2
"""Units of the turn's budget for a contribution that is sent."""

PARTS_PER_UNIT: Final = 32
"""Parts of a table's definition that cost a unit when a row is asked what it contributes."""

_NO_SHARES: Final[Shares] = ()


@final
class Contributions:
    """The contributions of one shard's rows."""

    __slots__ = (
        "_budget",
        "_builds",
        "_definitions",
        "_outbox",
        "_realms",
        "_ways",
        "_ways_into",
        "left_out",
    )

    def __init__(
        self,
        definitions: Definitions,
        builds: Builds,
        realms: Realms,
        outbox: ShardOutbox,
        budget: Budget,
    ) -> None:
        """budget: the turn's."""
        self._budget = budget
        self._definitions = definitions
        self._builds = builds
        self._realms = realms
        self._outbox = outbox
        # (realm, table) -> for each edge of the table, its build, and its number there.
        self._ways: dict[tuple[str, str], list[tuple[Build, int]]] = {}
        # (realm, table, build's name) -> those of these edges that lead into that build.
        self._ways_into: dict[tuple[str, str, str], list[tuple[Edge, int]]] = {}
        #: Counter: how often a row of an aggregate could not contribute to another one.
        self.left_out = 0

    def activated(self) -> None:
        """Note that another schema is active."""
        self._ways.clear()
        self._ways_into.clear()

    def of_row(
        self,
        realm: Realm,
        table: Table,
        topic: str,
        key: Event | None,
        left_out: list[str] | None = None,
    ) -> Shares:
        """Return what a key below a table contributes; `()`: nothing, or it is no row of the table.

        left_out: see `Table.contributions_of_any`. A row from before the present definition may not
        be one any more.
        """
        if key is None:
            return _NO_SHARES
        self._budget.spend(table.weight // PARTS_PER_UNIT)
        try:
            return shares(table, topic, realm.document_of(key.publish), left_out)
        except InvalidPayload:
            return _NO_SHARES

    def check_room(self, table: Table, publish: Publish) -> None:
        """Raise QueueFull if too much waits for the shard of a group that the row concerns."""
        outbox = self._outbox
        if not outbox.is_any_full:
            return
        realm = self._realms[publish.realm]
        before = realm.keys.get(publish.topic)
        after = None if publish.flags & EMPTY else Event(0, publish)
        for key in (before, after):
            for share in self.of_row(realm, table, publish.topic, key):
                if share is not None and outbox.is_full(outbox.owner_of(realm.name, share.topic)):
                    raise QueueFull(
                        f"too much waits for the shard of {share.topic} (backplane.outbox_limit): "
                        "publish again later"
                    ).beyond("outbox_limit")

    def changed(self, realm: Realm, table: Table, change: KeyChange) -> None:
        """Send what a change of a row changes."""
        topic = change.ref[1]
        before = self.of_row(realm, table, topic, change.before)
        left_out: list[str] = []
        after = self.of_row(realm, table, topic, change.after, left_out)
        self.left_out += len(left_out)
        if not (before or after):
            return
        ways = self._ways_of(realm.name, table)
        nothing: Shares = (None,) * len(ways)
        for (build, edge), was, now in zip(ways, before or nothing, after or nothing, strict=True):
            if was is not None and (now is None or now.topic != was.topic):
                self._send(build, edge, was.topic, change, None)
            # While rows are looked at for a build, that passes by rows that are just changing.
            if now is not None and (now != was or build.scanned is not None):
                self._send(build, edge, now.topic, change, now)

    def _send(
        self, build: Build, edge: int, target: str, change: KeyChange, share: Share | None
    ) -> None:
        numbers = None if share is None else share.numbers
        self._budget.spend(FRAME_UNITS)
        frame = Contribution(
            build.realm, target, build.name, edge, change.ref[1], change.publication, numbers
        )
        self._outbox.send_to_owner(frame, revocable=change.uncommitted)

    def send_again(self, realm: Realm, table: Table, topic: str, key: Event) -> None:
        """Send what the durable value of a key contributes."""
        found = self.of_row(realm, table, topic, key)
        for (build, edge), share in zip(self._ways_of(realm.name, table), found, strict=False):
            if share is not None:
                self._send_again(build, edge, topic, key, share)

    def send_into(self, realm: Realm, table: Table, topic: str, key: Event, build: Build) -> None:
        """Send what the durable value of a key contributes to one build.

        The table's other edges, of which there may be hundreds, are not looked at.
        """
        ways = self._ways_to(realm.name, table, build)
        self._budget.spend(len(ways) * table.weight // (len(table.edges) * PARTS_PER_UNIT))
        try:
            document = _row(table, topic, realm.document_of(key.publish))
        except InvalidPayload:
            return
        if document is None:
            return
        for edge, number in ways:
            share = edge.contribution_of_any(document)
            if share is not None:
                self._send_again(build, number, topic, key, share)

    def _send_again(self, build: Build, edge: int, topic: str, key: Event, share: Share) -> None:
        self._budget.spend(FRAME_UNITS)
        frame = Contribution(
            build.realm, share.topic, build.name, edge, topic, key.publication, share.numbers
        )
        self._outbox.send_to_owner(frame)

    def _ways_to(self, realm: str, table: Table, build: Build) -> list[tuple[Edge, int]]:
        ref = realm, table.name, build.name
        ways = self._ways_into.get(ref)
        if ways is None:
            all_ways = zip(table.edges, self._ways_of(realm, table), strict=True)
            ways = [(edge, number) for edge, (into, number) in all_ways if into is build]
            self._ways_into[ref] = ways
        return ways

    def _ways_of(self, realm: str, table: Table) -> list[tuple[Build, int]]:
        ways = self._ways.get((realm, table.name))
        if ways is None:
            tables = self._definitions.of(realm)
            ways = self._ways[realm, table.name] = []
            for edge in table.edges:
                build = self._builds.of(realm, edge.target)
                assert build is not None
                ids = sorted(other.id for other in tables.edges_into(edge.target))
                ways.append((build, ids.index(edge.id)))
        return ways


def shares(
    table: Table, topic: str, document: Document | None, left_out: list[str] | None = None
) -> Shares:
    """Return what a document contributes as the row with that topic; `()`: nothing.

    left_out: see `Table.contributions_of_any`.
    """
    row = _row(table, topic, document)
    return _NO_SHARES if row is None else table.contributions_of_any(row, left_out)


def _row(table: Table, topic: str, document: Document | None) -> Document | None:
    """Return the document if it is the row with that topic, or None."""
    try:
        is_row = document is not None and table.row_topic(document) == topic
    except InvalidPayload:
        return None
    return document if is_row else None
