"""Aggregates: how contributions change groups, and groups their keys.

Owns: the contributions that arrive, and which keys are to be written. Never: what rows contribute;
the writing of keys (see `stored`).

Contributions are in the store with the watermark of the shard that sent them, so none is lost, and
none counts twice. The keys of all groups that were touched in a turn are written once, at its end,
in the same transaction: many rows into one group cost one change of its key. While the store fails,
contributions go on to arrive, and the keys are written when the store works again.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, final

from fox_shard.backplane.frames import COMPUTED, EMPTY, RETAIN, Contribution, Publish, Rebuilt
from fox_shard.documents.payloads import JSON, NONE, encode
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.rows import KeyRef
from fox_shard.shard.tables.builds import BUILDING, SHOWING, Build, Builds
from fox_shard.store.journal import Journal

GROUP_UNITS: Final = 4
"""Units of the turn's budget for a group that is touched, since its key will be written."""

CONTRIBUTION_UNITS: Final = 2
"""Units for a contribution that arrives."""

FUNCTIONS_PER_UNIT: Final = 4
"""Functions of the aggregate that cost one more unit, for a contribution and for a group."""


@final
class Aggregates:
    """The aggregates of one shard."""

    __slots__ = (
        "_budget",
        "_builds",
        "_erased",
        "_erasures",
        "_journal",
        "_keys",
        "_newly_touched",
        "_touched",
        "_written",
    )

    def __init__(
        self, builds: Builds, keys: RetainedKeys, journal: Journal, inbox: Inbox, budget: Budget
    ) -> None:
        self._builds = builds
        self._keys = keys
        self._journal = journal
        self._budget = budget
        # Keys to be erased, since there is no such aggregate any more; and those that were erased
        # in transactions that are not durable, with the tickets.
        self._erasures: list[KeyRef] = []
        self._erased: deque[tuple[int, KeyRef]] = deque()
        # Builds with groups that were touched.
        self._touched: dict[Build, None] = {}
        # Those groups of which `put_off` has not noted that their keys cannot be written.
        self._newly_touched: list[tuple[Build, str]] = []
        # (ticket, build, topic) of keys that were written in transactions that are not durable.
        self._written: deque[tuple[int, Build, str]] = deque()
        inbox.handlers[Contribution] = self._contribute
        inbox.handlers[Rebuilt] = self._rebuilt

    def begin(self) -> None:
        """Look for keys that were not written before the restart."""
        for build in self._builds:
            if build.stage == BUILDING:
                build.touched.clear()
            elif build.touched:
                self._touched[build] = None

    # Frames

    def _contribute(self, frame: Contribution, _shard: int) -> None:
        self._budget.spend(CONTRIBUTION_UNITS)
        build = self._builds.find(frame.realm, frame.build)
        if build is None:
            return  # of a schema that is not active any more
        self._budget.spend(len(build.aggregate.functions) // FUNCTIONS_PER_UNIT)
        topic, place = frame.target_topic, f"{frame.edge}\0{frame.source}"
        group = build.groups.get(topic)
        before = None if group is None else group.contributions.get(place)
        if before is not None:
            version, numbers = rows.decode_contribution(before)
            if version >= frame.version:
                return
            build.retract(topic, place, numbers)
        elif frame.numbers is None:
            return
        value = None
        if frame.numbers is not None:
            value = rows.encode((frame.version, frame.numbers))
            build.add(topic, place, value, frame.numbers)
        self._journal.keep(rows.contribution(frame.realm, frame.build, topic, place), value)
        self.touch(build, topic)

    def touch(self, build: Build, topic: str) -> None:
        """Note that the group's key is to be written, unless the build is not shown."""
        if build.stage != BUILDING and topic not in build.touched:
            units = GROUP_UNITS + len(build.aggregate.functions) // FUNCTIONS_PER_UNIT
            self._budget.spend(units)
            self._touch(build, topic)

    def _touch(self, build: Build, topic: str) -> None:
        build.touched[topic] = None
        self._touched[build] = None
        self._newly_touched.append((build, topic))

    def _rebuilt(self, frame: Rebuilt, shard: int) -> None:
        build = self._builds.find(frame.realm, frame.build)
        if build is not None:
            build.heard.add(shard)
            self._builds.keep(build)
            self.show_if_complete(build)

    def show_if_complete(self, build: Build) -> None:
        """Begin to show the build if the active schema needs it and all rows have contributed."""
        if build.active and build.stage == BUILDING and self._builds.is_complete(build):
            build.stage = SHOWING
            self._builds.keep(build)

    # Keys

    def erase(self, realm: str, topic: str) -> None:
        """Have a key erased that no aggregate has any more."""
        self._budget.spend(GROUP_UNITS)
        self._erasures.append((realm, topic))

    @property
    def has_due(self) -> bool:
        """Whether any key is to be written or erased at the end of the turn."""
        return bool(self._touched or self._erasures)

    @property
    def erasing(self) -> bool:
        """Whether keys have yet to be erased durably."""
        return bool(self._erasures or self._erased)

    def due(self) -> Iterator[Publish]:
        """Yield the publishes that write the keys of all groups that were touched."""
        erasures, self._erasures = self._erasures, []
        for realm, topic in erasures:
            self._erased.append((self._journal.ticket, (realm, topic)))
            yield _erasing(realm, topic)
        while self._touched:
            build = next(iter(self._touched))
            while build.touched:
                topic = next(iter(build.touched))
                del build.touched[topic]
                publish = self._publish(build, topic)
                if publish is not None:
                    self._written.append((self._journal.ticket, build, topic))
                    yield publish
                self._forget_unwritten(build, topic)
            del self._touched[build]
        self._newly_touched.clear()

    def _publish(self, build: Build, topic: str) -> Publish | None:
        """Return the publish that makes the group its key; None: it is so already."""
        key = self._keys.key((build.realm, topic))
        group = build.groups.get(topic)
        if group is None:
            if key is None:
                return None
            return _erasing(build.realm, topic)
        assert build.table is not None
        assert group.rows is not None
        document = {**build.table.key_of(topic), **group.rows.results()}
        args = encode([document], {}, JSON)[0]
        if key is not None and key.publish.args == args and key.publish.encoding == JSON:
            return None
        return Publish(build.realm, topic, 0, 0, 0, COMPUTED | RETAIN, JSON, args)

    def put_off(self) -> None:
        """Note in the store which keys cannot be written because the store fails."""
        for build, topic in self._newly_touched:
            if topic in build.touched and topic not in build.unwritten:
                build.unwritten.add(topic)
                self._journal.keep(rows.unwritten(build.realm, build.name, topic), b"")
        self._newly_touched.clear()

    def _forget_unwritten(self, build: Build, topic: str) -> None:
        if topic in build.unwritten:
            build.unwritten.discard(topic)
            self._journal.keep(rows.unwritten(build.realm, build.name, topic), None)

    # The store

    def committed(self, ticket: int) -> None:
        """Take the keys that were written up to that transaction as durable."""
        written = self._written
        while written and written[0][0] <= ticket:
            written.popleft()
        while self._erased and self._erased[0][0] <= ticket:
            self._erased.popleft()

    def commit_failed(self) -> None:
        """Write the keys again that are not durable, when the store works."""
        for _, build, topic in self._written:
            if build.active:
                self._touch(build, topic)
        self._written.clear()
        self._erasures += [ref for _, ref in self._erased]
        self._erased.clear()
        self.put_off()

    @property
    def idle(self) -> bool:
        """Whether the keys of all groups are written, and durable."""
        return not (self._touched or self._written or self.erasing)


def _erasing(realm: str, topic: str) -> Publish:
    return Publish(realm, topic, 0, 0, 0, COMPUTED | RETAIN | EMPTY, NONE, b"")
