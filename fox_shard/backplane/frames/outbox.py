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

    target_topic: the key. pattern: the text of the reducer's pattern. name: the durable reducer's;
    "": it is not durable.
    """

    realm: str
    target_topic: str
    pattern: str
    name: str
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


OutboxFrame: TypeAlias = Fold | RouterPublish
"""A frame from one shard's outbox to another shard."""
