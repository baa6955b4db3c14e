"""Membership: what becomes of a peer's state when its link opens or breaks, or the peer is gone.

Owns: the order in which the parts of a shard are told. Never: when that is (see `links`); who the
peers are (see `peers`); what each part does.
"""

from collections.abc import Collection
from typing import final

from fox_shard.backplane.attached import Running, is_attached
from fox_shard.backplane.departures import Departures
from fox_shard.backplane.frames import Batch, Forward, Frame, StoreFailure
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import Links
from fox_shard.backplane.node import Notice
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard.dispatch import Dispatcher
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.links.peers import Peers
from fox_shard.shard.publishing.grants import Grants
from fox_shard.shard.pubsub.meta_listeners import MetaListeners
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.recovery import Recovery
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.releases import Releases
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.registrar import Registrar
from fox_shard.shard.sessions.wills import Wills
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.store.journal import Journal


@final
class Membership:
    """The coming and going of the peers of one shard."""

    __slots__ = (
        "_dealer",
        "_definitions",
        "_departures",
        "_dispatcher",
        "_fences",
        "_grants",
        "_journal",
        "_links",
        "_listeners",
        "_notices",
        "_outcomes",
        "_owners",
        "_peers",
        "_recovery",
        "_reducers",
        "_registrar",
        "_releases",
        "_settings",
        "_subscriptions",
        "_unannounced",
        "_wills",
    )

    def __init__(
        self,
        peers: Peers,
        links: Links,
        dispatcher: Dispatcher,
        subscriptions: Subscriptions,
        listeners: MetaListeners,
        owners: Owners,
        unannounced: UnannouncedChanges,
        grants: Grants,
        dealer: Dealer,
        registrar: Registrar,
        reducers: Reducers,
        definitions: Definitions,
        wills: Wills,
        outcomes: Outcomes,
        fences: Fences,
        recovery: Recovery,
        releases: Releases,
        journal: Journal,
        notices: list[Notice],
        running: Running,
        settings: LinkSettings,
    ) -> None:
        """notices: get what is to be told. running: tells which attached gateways run."""
        self._peers = peers
        self._links = links
        self._dispatcher = dispatcher
        self._subscriptions = subscriptions
        self._listeners = listeners
        self._owners = owners
        self._unannounced = unannounced
        self._grants = grants
        self._dealer = dealer
        self._registrar = registrar
        self._reducers = reducers
        self._definitions = definitions
        self._wills = wills
        self._outcomes = outcomes
        self._fences = fences
        self._recovery = recovery
        self._releases = releases
        self._journal = journal
        self._notices = notices
        self._settings = settings
        self._departures = Departures(
            journal, settings.heartbeat, running, self._is_over, self._forget, outcomes.keep_gone
        )

    def load(self, stored: list[tuple[str, int]], running: Collection[str], now: float) -> None:
        """Wait for the gateways that the store names, and note which of them are gone.

        stored: names and incarnations. running: attached gateways.
        """
        for name, incarnation in stored:
            peer = self._peers.named(name, now)
            peer.may_repeat = True
            if peer.kind is Kind.GATEWAY:
                ended = peer.attached and name not in running
                since = now - self._settings.attached_timeout if ended else now
                self._links.await_incarnation(peer.link, incarnation, since)
        gone = self._outcomes.gone
        for name, incarnation in gone.items():
            if is_attached(name):
                peer_of_name = self._peers.by_name.get(name)
            else:
                peer_of_name = self._peers.named(name, now)
            if peer_of_name is not None:
                peer_of_name.link.gone = incarnation
        self._departures.load({name: gone[name] for name in gone if is_attached(name)})

    def newcomer(self, batch: Batch, now: float) -> Peer | None:
        """Return the peer of a batch whose sender is not known; None: it is not let in."""
        name = batch.source
        if is_attached(name) and not self._links.knocks(batch, self._departures.gone(name)):
            return None
        return self._peers.named(name, now)

    def link_opened(self, link: Link, before: int) -> None:
        """Begin a new pair with the peer. before: see `LinkOwner`."""
        self._dispatcher.stirred = True
        peer = self._peers.by_name[link.peer]
        if peer.attached:
            self._departures.returned(peer.name)
        known = before == link.peer_incarnation
        # Another numbering has begun if the peer has another identity.
        peer.applied = min(peer.applied, link.watermark)
        self._drop_replayed_state(peer)
        if not known and before:
            self._drop_incarnation(peer)
        self._outcomes.link_opened(peer)
        self._recovery.end_sessions(
            self._owners.sessions_of_other_incarnations(peer.name, peer.incarnation)
        )
        self._owners.link_opened(peer.name)
        self._wills.link_opened(peer, known=known)
        peer.settled = 0
        self._subscriptions.link_opened(peer)
        link.resume(self._announcements(peer.kind))
        peer.deliveries.link_opened()
        if self._journal.failing and peer.kind is Kind.GATEWAY:
            peer.reply(StoreFailure(self._journal.failing))

    def _announcements(self, to: Kind) -> list[Frame]:
        if to is Kind.SHARD:
            return [*self._registrar.announcements(), *self._reducers.announcements()]
        listening = self._listeners.announcements() if to is Kind.COORDINATOR else []
        return [*self._definitions.announcements(), *listening]

    def link_broken(self, link: Link) -> None:
        """Drop the state that the peer replays if it comes back."""
        self._dispatcher.stirred = True
        self._drop_replayed_state(self._peers.by_name[link.peer])

    def peer_gone(self, link: Link, now: float) -> None:
        """Drop everything of the peer's incarnation, and end its sessions.

        A gateway is not let in again in this incarnation, because its clients would go on as if
        they still had their locks.
        """
        self._dispatcher.stirred = True
        peer = self._peers.by_name[link.peer]
        self._drop_incarnation(peer)
        if peer.kind is Kind.GATEWAY:
            link.disown()
        if peer.attached:
            self._departures.left(peer.name, link.gone)
            self._recovery.attached_gone(now)
        elif peer.kind is Kind.GATEWAY:
            self._outcomes.keep_gone(peer.name, link.gone)

    def _drop_replayed_state(self, peer: Peer) -> None:
        """Drop the state that the peer replays if it comes back."""
        peer.synced = peer.caught_up = False
        self._dispatcher.link_broken(peer)
        if peer.waiting:
            # These frames are not handled: the peer resends reliable ones, but not calls.
            for arrival in peer.waiting:
                for frame in arrival.frames:
                    if type(frame) is Forward:
                        self._dealer.refuse_forwarded(frame, peer.name)
            peer.waiting.clear()
            peer.resent.clear()
            peer.link.watermark = peer.applied
        for session in self._dealer.invocations.callers_of(peer):
            self._dealer.session_ended(peer, session)
        for session in self._registrar.sessions_of(peer):
            self._registrar.session_ended(session)
        self._reducers.link_broken(peer)
        if peer.kind is Kind.SHARD:
            self._registrar.link_broken(int(peer.name.partition("-")[2]))
        self._dealer.link_broken(peer)
        peer.fence_queries.extend(peer.deliveries.link_broken())

    def _drop_incarnation(self, peer: Peer) -> None:
        """Drop everything of an incarnation that will not come back, and end its sessions."""
        self._subscriptions.peer_gone(peer)
        if peer.kind is not Kind.SHARD:
            # What waits for a shard is in the outbox, and so for its next incarnation.
            peer.link.peer_gone()
        peer.deliveries.peer_gone()
        self._outcomes.peer_gone(peer)
        self._grants.peer_gone(peer)
        self._reducers.instances.peer_gone(peer)
        self._unannounced.peer_gone(peer)
        owning = self._owners.sessions_of_other_incarnations(peer.name, 0)
        self._recovery.end_sessions([*owning, *self._wills.sessions_of(peer.name)])
        self._fences.answer(peer)

    def tick(self, now: float) -> None:
        """Forget attached gateways of which nothing is left."""
        self._departures.tick(now)

    def _is_over(self, name: str) -> bool:
        """Whether nothing waits for that attached gateway, which is gone, or for its sessions."""
        peer = self._peers.by_name[name]
        busy = self._recovery.busy or self._releases.busy or not self._peers.synced
        waits = peer.waiting or peer.resent or peer.fence_queries or not peer.deliveries.idle
        sessions = self._wills.sessions_of(name) or (
            self._owners.sessions_of_other_incarnations(name, 0)
        )
        return peer.gone and not (busy or waits or sessions)

    def _forget(self, name: str) -> None:
        """Keep nothing of that attached gateway."""
        peer = self._peers.remove(name)
        self._subscriptions.forget(peer)
        self._wills.forget(peer)
        self._owners.forget(name)
        self._notices.append(("forgotten", {"peer": name}))
