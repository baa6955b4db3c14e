"""The attached gateways of a shard: how they come, are held back by themselves, and are forgotten.

Owns: which of them are gone and not yet forgotten; which gone incarnations the store remembers.
Never: what is kept of a peer (see `Shard`), links.

Attached gateways come and go (see `backplane.attached`), so whatever one has had must end with it.
When it is gone, its sessions end as those of any gateway; when they have ended, and all that waits
for it or for the store is over, it is *forgotten*: there is no peer and no link any more. Only the
row that says which incarnation is gone stays while its process runs, since it may still come back.

An attached gateway that is behind holds back its own publishers, not those of others. If more than
`attached_buffer` bytes are on their way to it, the shard gives it up.
"""

from collections.abc import Callable, Collection
from typing import final

from fox_shard.backplane.links import Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Peer

Running = Callable[[], Collection[str]]
"""Returns the names of all attached gateways whose processes run."""


def none_run() -> Collection[str]:
    """Say that no attached gateway runs: a `Running`."""
    return ()


@final
class AttachedGateways:
    """The attached gateways of one shard."""

    __slots__ = (
        "_behind",
        "_forget",
        "_gone",
        "_is_over",
        "_leaving",
        "_links",
        "_look_at",
        "_outcomes",
        "_peers",
        "_running",
        "_settings",
    )

    def __init__(
        self,
        links: Links,
        settings: LinkSettings,
        outcomes: Outcomes,
        running: Running,
        is_over: Callable[[Peer], bool],
        forget: Callable[[Peer], None],
    ) -> None:
        """is_over(peer): nothing waits for the gone peer any more. forget(peer): drops it."""
        self._links = links
        self._settings = settings
        self._outcomes = outcomes
        self._running = running
        self._is_over = is_over
        self._forget = forget
        self._peers: list[Peer] = []
        # Those that have no credit because they are behind.
        self._behind: list[Peer] = []
        # Gone and not forgotten: peer -> the transaction that is to be durable before; None:
        # something waits for it still.
        self._leaving: dict[Peer, int | None] = {}
        # Incarnations that are gone, of gateways whose processes may run; each is a row.
        self._gone: dict[str, int] = {}
        # When to look which processes run.
        self._look_at = 0.0

    def load(self, gone: dict[str, int]) -> None:
        """Take from the store which incarnations are gone."""
        self._gone = gone
        self._drop_ended()

    # They come

    def add(self, peer: Peer) -> None:
        """Add one that has just been let in, or that may come back."""
        self._peers.append(peer)

    def gone(self, name: str) -> int:
        """Return the incarnation of that name that is gone and must not come in; 0: none."""
        return self._gone.get(name, 0)

    def opened(self, peer: Peer) -> None:
        """Note that the gateway is linked, perhaps in another incarnation than was gone."""
        self._leaving.pop(peer, None)

    # They are behind

    def limit(self, *, overloaded: bool, now: float) -> None:
        """Give those that are behind no credit, and give up those that are far behind.

        overloaded: no gateway gets any credit. To be called once a turn.
        """
        if not self._peers:
            return
        credit, most = self._settings.credit, self._settings.attached_buffer
        behind = [peer for peer in self._peers if peer.link.in_flight > credit]
        for peer in (*self._behind, *behind):
            holds = overloaded or peer in behind
            if peer.link.hold_credit is not holds:
                peer.link.hold_credit = holds
                peer.link.acknowledge_soon()
        self._behind = behind
        for peer in behind:
            if peer.link.in_flight > most:
                self._links.give_up(peer.link, now)

    # They go

    def left(self, peer: Peer) -> None:
        """Note that the peer is gone. To be forgotten, it must have nothing left."""
        if peer.incarnation:
            self._gone[peer.name] = peer.incarnation
            self._outcomes.keep_gone(peer.name, peer.incarnation)
        self._leaving[peer] = None

    def tick(self, now: float) -> None:
        """Forget those of which nothing is left; to be called at least once per heartbeat."""
        for peer, ticket in list(self._leaving.items()):
            if not self._is_over(peer):
                self._leaving[peer] = None
            elif ticket is None:
                self._leaving[peer] = self._outcomes.journal.last_changed
            elif self._outcomes.journal.durable >= ticket:
                del self._leaving[peer]
                self._peers.remove(peer)
                self._forget(peer)
        if self._gone and now >= self._look_at:
            self._look_at = now + self._settings.heartbeat
            self._drop_ended()

    def _drop_ended(self) -> None:
        """Forget which incarnations are gone of those gateways whose processes have ended."""
        if self._gone:
            running = self._running()
            for name in [name for name in self._gone if name not in running]:
                del self._gone[name]
                self._outcomes.forget_gone(name)

    @property
    def idle(self) -> bool:
        """Whether nothing is kept of any attached gateway."""
        return not (self._peers or self._leaving or self._gone)
