"""The peers of a shard: who there is, and what credit gateways get.

Owns: the list of peers, and whether a newcomer is let in. Never: what becomes of a peer's state
when its link changes (see `membership`).
"""

from collections.abc import Collection
from typing import final

from fox_shard.backplane.attached import is_attached
from fox_shard.backplane.frames import Frame
from fox_shard.backplane.links import Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard.links.attached import AttachedGateways
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.links.recipients import Outboxes
from fox_shard.store.journal import Journal

DISK_CREDIT = 1 << 20
"""Bytes that may wait for the disk before gateways get no credit: some thousands of keys, which
take a tenth of a second. Nobody's frames come through meanwhile."""


@final
class Peers:
    """The peers of one shard. by_name: all of them. outboxes: theirs.

    synced: the sync has ended, so that no absent peer is expected to replay.
    """

    __slots__ = (
        "_attached",
        "_disk_credit",
        "_gateways",
        "_identity",
        "_journal",
        "_links",
        "_number",
        "_overloaded",
        "_settings",
        "by_name",
        "outboxes",
        "synced",
    )

    def __init__(
        self, number: int, identity: int, links: Links, journal: Journal, settings: LinkSettings
    ) -> None:
        """number, identity: the shard's (see `Shard`)."""
        self._number = number
        self._identity = identity
        self._links = links
        self._journal = journal
        self._settings = settings
        self.by_name: dict[str, Peer] = {}
        self.outboxes = Outboxes()
        self.synced = False
        self._gateways: list[Peer] = []
        self._attached = AttachedGateways(links, settings)
        self._overloaded = False
        self._disk_credit = min(DISK_CREDIT, settings.credit)

    def add_all(self, gateways: int, running: Collection[str], now: float) -> None:
        """Add all peers that there must be. running: attached gateways, which come back.

        A shard connects to the shards of higher numbers, and listens to all other peers.
        """
        for other in range(self._settings.shards):
            if other != self._number:
                self._add(f"shard-{other}", now, connects=other > self._number)
        for gateway in range(gateways):
            self._add(f"gateway-{gateway}", now)
        for name in sorted(running):
            self._add(name, now)

    def named(self, name: str, now: float = 0.0) -> Peer:
        """Return the peer of that name, which is added if it is new."""
        return self.by_name.get(name) or self._add(name, now)

    def expected(self, name: str) -> Peer | None:
        """Return the peer of that name; None: nothing is to come of it.

        An attached gateway that runs is known: its clients come in after it is linked here.
        """
        if is_attached(name):
            return self.by_name.get(name)
        return self.named(name)

    def _add(self, name: str, now: float, *, connects: bool = False) -> Peer:
        identity = self._identity if name.startswith("shard-") else 0
        link = self._links.add(name, now, connects=connects, identity=identity)
        peer = self.by_name[name] = Peer(link)
        self.outboxes.add(peer)
        if peer.kind is Kind.GATEWAY:
            self._gateways.append(peer)
        if peer.attached:
            self._attached.add(peer)
            link.missed = self.synced
            link.hold_credit = self._overloaded
        return peer

    def remove(self, name: str) -> Peer:
        """Return that attached gateway, of which nothing is kept here any more."""
        peer = self.by_name.pop(name)
        self._attached.remove(peer)
        self._links.forget(name)
        self.outboxes.remove(peer)
        self._gateways.remove(peer)
        return peer

    def other_shards(self) -> list[Peer]:
        """Return those peers that are shards."""
        return [peer for peer in self.by_name.values() if peer.kind is Kind.SHARD]

    def tell_gateways(self, frame: Frame) -> None:
        """Send the frame to all gateways."""
        for gateway in self._gateways:
            gateway.reply(frame)

    def limit_credit(self, now: float) -> None:
        """Give no credit to any gateway while one of them, or the store, is behind.

        One that is attached holds back itself only. Gateways without credit stop reading from
        publishers, but always read from shards, and shards read from all peers. So no circle of
        processes can wait for each other.
        """
        credit, journal = self._settings.credit, self._journal
        overloaded = journal.waiting > (credit if journal.failing else self._disk_credit)
        for gateway in self._gateways:
            if gateway.link.in_flight > credit and not gateway.attached:
                overloaded = True
        if overloaded is not self._overloaded:
            self._overloaded = overloaded
            for gateway in self._gateways:
                gateway.link.hold_credit = overloaded
                gateway.link.acknowledge_soon()
        self._attached.limit_credit(overloaded=overloaded, now=now)
