"""Frames: what a shard's outbox keeps for another shard.

Owns: the frames that outlive both shards, and where each of them goes. Never: behaviour.

Each frame names a realm and a topic, whose owner is the receiver. So the frame finds its way even
if the number of shards changes while it waits. A frame whose topic is "" is for the shard that it
was sent to, and means nothing to another one: it ends with the number of shards.
"""

from typing import TypeAlias

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Event, Publish


class Fold(Struct, array_like=True, tag=70, gc=False):
    """An event that a reducer folds into another topic's key: the event's shard to the key's.

    target_topic: the key, which is the reducer's mission. reducer: its id. pattern, durable: as in
    `RegisterReducer`, because that shard may not have heard of the reducer.
    """

    realm: str
    target_topic: str
    reducer: int
    pattern: str
    durable: str
    event: Event


class RouterPublish(Struct, array_like=True, tag=71, gc=False):
    """A publish by the router itself on another shard's topic: the shard that makes it to that one.

    Not answered.
    """

    publish: Publish

    @property
    def realm(self) -> str:
        """The realm of the publish."""
        return self.publish.realm

    @property
    def target_topic(self) -> str:
        """The topic of the publish."""
        return self.publish.topic


class Contribution(Struct, array_like=True, tag=76, gc=False):
    """What one row contributes to a group of an aggregate: the row's shard to the group's.

    This is state, and no difference: it takes the place of what the row has contributed there.
    target_topic: the group's row. build: see `shard.tables.builds`. edge: the number of the edge
    among those into the aggregate. source: the row. version: the publication id of the row's value,
    or of its end. numbers: see `tables.table.Numbers`; None: the row contributes nothing there.
    """

    realm: str
    target_topic: str
    build: str
    edge: int
    source: str
    version: int
    numbers: tuple[str | None, ...] | None


class Rebuilt(Struct, array_like=True, tag=78, gc=False):
    """All rows of the sender have contributed to a build: shard to each shard."""

    realm: str
    build: str

    @property
    def target_topic(self) -> str:
        """No topic: the frame is for the shard that it is sent to."""
        return ""


OutboxFrame: TypeAlias = Fold | RouterPublish | Contribution | Rebuilt
"""A frame from one shard's outbox to another shard."""
