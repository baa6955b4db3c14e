"""The junction: the nodes of one process, which hand each other their batches.

Owns: in which order the nodes of one process take their turns, and how often within one turn of the
event loop. Never: what a node decides; sockets, stores, clocks.

A batch that a node has for another one is handled at once, in the same turn of the event loop,
which so lasts for the whole way of a message: from the gateway that has read it to the shard, and
back to the gateway that writes it. There is no connection that could break, so a pair of links
lasts as long as the process. Only the links to attached gateways may break.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias, final

from fox_shard.backplane.frames import Batch
from fox_shard.backplane.node import Node
from fox_shard.backplane.parcel import batch_of
from fox_shard.store.write import Write

ROUNDS: Final = 4
"""How often each node may take its turn before the event loop looks at the clients again.

An acknowledged message takes three: there, back with the event, and back with the acknowledgement
after the gateway has said that it has delivered.
"""


Observer: TypeAlias = Callable[[float, str, str, bytes], None]
"""Is shown a batch: seconds since 1970, the sender, the receiver, the encoded batch."""


class Outgoing(NamedTuple):
    """A batch of the node of that name for a peer in another process."""

    name: str
    peer: str
    data: bytes


class NodeWrite(NamedTuple):
    """A transaction for the store of the node of that name."""

    name: str
    write: Write


@final
class Junction:
    """Nodes that talk to each other, and to attached gateways, which are processes of their own.

    outgoing: what they have for these; whoever sends it removes it. observer: is shown each batch
    that a node sends; None: nobody looks. now: monotonic seconds.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        """nodes: in the order of their turns."""
        self.nodes = tuple(nodes)
        self._by_name = {node.name: node for node in nodes}
        self.outgoing: list[Outgoing] = []
        self.observer: Observer | None = None
        # The nodes that something has happened to since their last turns.
        self._stirred: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether another turn must follow, because a node has something to send."""
        return bool(self._stirred)

    @property
    def due(self) -> float:
        """When `tick` must be called, at the latest; monotonic seconds."""
        return min(node.deadline.at for node in self.nodes)

    def stir(self, name: str) -> None:
        """Let the node of that name take part in the next turn, as something has come for it."""
        self._stirred.add(name)

    def receive(self, name: str, batch: Batch, size: int, now: float, wall: float) -> None:
        """Give a node a batch from another process. size: bytes."""
        self._by_name[name].receive(batch, size, now, wall)
        self._stirred.add(name)

    def connection_lost(self, name: str, peer: str, now: float) -> None:
        """Tell a node that nothing can be sent to that peer now."""
        self._by_name[name].connection_lost(peer, now)
        self._stirred.add(name)

    def tick(self, now: float) -> None:
        """Let all nodes do what is due. To be called at `due`, before a `turn`."""
        for node in self.nodes:
            if node.deadline.at <= now:
                node.tick(now)
                self._stirred.add(node.name)

    def turn(self, now: float, wall: float) -> list[NodeWrite]:
        """Let the nodes take their turns until no batch is left, or for `ROUNDS` rounds.

        wall: seconds since 1970. Returns the transactions that have come about, each node's in
        order. Look at `busy` afterwards.
        """
        writes: list[NodeWrite] = []
        stirred = self._stirred
        for _ in range(ROUNDS):
            for node in self.nodes:
                name = node.name
                if name not in stirred:
                    continue
                stirred.discard(name)
                self._flush(node, now, wall)
                if node.journal is not None:
                    write = node.journal.take(now)
                    if write is not None:
                        writes.append(NodeWrite(name, write))
            if not stirred:
                break
        return writes

    def _flush(self, node: Node, now: float, wall: float) -> None:
        """Hand over what the node has for others."""
        for peer, data in node.flush(now):
            if self.observer is not None:
                self.observer(wall, node.name, peer, data)
            other = self._by_name.get(peer)
            if other is None:
                self.outgoing.append(Outgoing(node.name, peer, data))
            else:
                other.receive(batch_of(data), len(data), now, wall)
                self._stirred.add(peer)
