"""What each peer has subscribed to.

Owns: subscribing, unsubscribing, telling again after a broken link; replays that are under way, or
wait until everybody is here. Never: events (see `broker`), what a replay consists of.
"""

from typing import final

from fox_shard.backplane.frames import (
    CaughtUp,
    More,
    NotSubscribed,
    Paused,
    Selected,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.errors import HistoryGap
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.cursor import START, Position
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.realms import RealmIndexes
from fox_shard.shard.pubsub.replay import PAGE_EVENTS, Replay
from fox_shard.shard.pubsub.selectors import Selector
from fox_shard.topics.pattern import Pattern

Wanted = tuple[str, str, int]
"""A subscription: its realm, the text of its pattern, the id of its selection, 0: it has none."""


@final
class Subscriptions:
    """Of all peers."""

    __slots__ = (
        "_archive",
        "_clock",
        "_early",
        "_realms",
        "_replays",
        "_stale",
        "_subscribed",
        "_welcoming",
    )

    def __init__(self, realms: RealmIndexes, clock: PublicationClock, archive: Archive) -> None:
        self._realms = realms
        self._clock = clock
        self._archive = archive
        self._subscribed: dict[Peer, dict[Wanted, Pattern | Selector]] = {}
        # Of a peer that is back, those that it has not yet told again.
        self._stale: dict[Peer, set[Wanted]] = {}
        # By token, those that are under way.
        self._replays: dict[Peer, dict[int, Replay]] = {}
        # Replays that were asked for before they are begun; are they begun?
        self._early: list[tuple[Peer, Subscribe]] = []
        self._welcoming = False

    def of(self, peer: Peer) -> dict[Wanted, Pattern | Selector]:
        """What the peer has subscribed to."""
        return self._subscribed.get(peer, {})

    def replays(self, peer: Peer) -> dict[int, Replay]:
        """What the peer is being shown, by token."""
        return self._replays.get(peer, {})

    # Subscribing

    def subscribe(self, peer: Peer, subscribe: Subscribe) -> None:
        """From now on the peer gets what it wants, and is told so. Idempotent."""
        if not subscribe.once:
            self._add(peer, subscribe)
        follows = subscribe.selection is not None and subscribe.selection.follow
        if self._welcoming or not (subscribe.replay or subscribe.after is not None or follows):
            self._answer(peer, subscribe)
        else:
            # What is sent again has to be before what a newcomer is shown.
            self._early.append((peer, subscribe))

    def _add(self, peer: Peer, subscribe: Subscribe) -> None:
        selection = subscribe.selection
        wanted = (subscribe.realm, subscribe.pattern, 0 if selection is None else selection.id)
        self._stale.get(peer, set()).discard(wanted)
        subscribed = self._subscribed.setdefault(peer, {})
        if wanted in subscribed:
            return
        index, pattern = self._realms[subscribe.realm], Pattern.parse(subscribe.pattern)
        if selection is None:
            subscribed[wanted] = pattern
            index.add(peer, pattern)
        else:
            subscribed[wanted] = selector = Selector(peer, pattern, selection)
            index.select(selector)

    def _answer(self, peer: Peer, subscribe: Subscribe) -> None:
        """Say that the peer gets it, and begin the replay, if there is to be one."""
        if not subscribe.token:
            self._send_missed(peer, subscribe)
            return
        if not (subscribe.replay or subscribe.after is not None):
            peer.link.send(Subscribed(subscribe.token))
            return
        replay = self._new_replay(peer, subscribe)
        if self._is_refused(replay):
            return
        self._begin_replay(replay)
        if subscribe.after is None:
            replay.first_page()
        # Before that no event may come, and the session is not told until all have confirmed.
        peer.link.send(Subscribed(subscribe.token))
        self._end_page(replay)

    def _send_missed(self, peer: Peer, subscribe: Subscribe) -> None:
        """To who follows and has not seen all that is recorded."""
        selection = subscribe.selection
        if selection is None or not selection.follow or not subscribe.start_id:
            return
        realm, pattern = self._realms[subscribe.realm].realm, Pattern.parse(subscribe.pattern)
        selector = Selector(peer, pattern, selection)
        history, start = self._archive[realm.name], subscribe.start_id
        oldest = history.gap(pattern, Position([start]))
        if oldest:
            peer.link.send_reliable(_refusal(oldest, selection=selection.id))
            return
        while events := history.read(pattern, START, start, PAGE_EVENTS):
            start = events[-1].publication
            for event in events:
                if selector.wants(event, realm.document_of):
                    peer.link.send_reliable(Selected(event, [selector.id], follow=True))

    def unsubscribe(self, peer: Peer, unsubscribe: Unsubscribe) -> None:
        """What was not subscribed to is ignored."""
        self._remove(peer, (unsubscribe.realm, unsubscribe.pattern, unsubscribe.selection))

    def _remove(self, peer: Peer, wanted: Wanted) -> None:
        had = self._subscribed.get(peer, {}).pop(wanted, None)
        if isinstance(had, Pattern):
            self._realms[wanted[0]].remove(peer, had)
        elif had is not None:
            self._realms[wanted[0]].deselect(had)

    # Peers come and go

    def welcome(self) -> None:
        """What was sent again has been handled: newcomers may be shown what there is."""
        self._welcoming = True
        early, self._early = self._early, []
        for peer, subscribe in early:
            self._answer(peer, subscribe)

    def is_back(self, peer: Peer) -> None:
        """The peer is about to tell its subscriptions again."""
        self._stale[peer] = set(self.of(peer))

    def told_again(self, peer: Peer) -> None:
        """The peer has told its subscriptions: others that it had are no more."""
        for wanted in sorted(self._stale.pop(peer, ())):
            self._remove(peer, wanted)

    def end_replays(self, peer: Peer) -> None:
        """The pair with that peer has ended. It asks for replays again."""
        self._early = [(asker, asked) for asker, asked in self._early if asker is not peer]
        for replay in list(self.replays(peer).values()):
            self._end_replay(replay)

    def forget(self, peer: Peer) -> None:
        """Drop all of the peer's subscriptions."""
        for wanted in list(self.of(peer)):
            self._remove(peer, wanted)
        self._stale.pop(peer, None)

    # Replays

    def _new_replay(self, peer: Peer, subscribe: Subscribe) -> Replay:
        realm, pattern = self._realms[subscribe.realm].realm, Pattern.parse(subscribe.pattern)
        selection = subscribe.selection
        selector = None if selection is None else Selector(peer, pattern, selection)
        history = self._archive[realm.name]
        return Replay(peer, pattern, subscribe, selector, realm.keys, realm.document_of, history)

    @staticmethod
    def _is_refused(replay: Replay) -> bool:
        """It is, if it cannot be complete."""
        oldest = replay.gap()
        if oldest:
            replay.peer.link.send(_refusal(oldest, replay.token))
        return bool(oldest)

    def _begin_replay(self, replay: Replay) -> None:
        self._replays.setdefault(replay.peer, {})[replay.token] = replay
        self._realms[replay.realm].begin(replay)

    def more(self, peer: Peer, more: More) -> None:
        """The next page; of a replay that has ended: nothing."""
        replay = self.replays(peer).get(more.token)
        if replay is not None:
            if more.enough or self._is_refused(replay):
                self._end_replay(replay)
            else:
                replay.page()
                self._end_page(replay)
        if more.enough and self._early:
            asked = (peer, more.token)
            self._early = [one for one in self._early if (one[0], one[1].token) != asked]

    def _end_page(self, replay: Replay) -> None:
        if not replay.done:
            replay.peer.link.send(Paused(replay.token))
        else:
            durable = replay.history.durable(self._clock.last) if replay.follows else 0
            replay.peer.link.send(CaughtUp(replay.token, durable))
            self._end_replay(replay)

    def _end_replay(self, replay: Replay) -> None:
        del self._replays[replay.peer][replay.token]
        self._realms[replay.realm].end(replay)


def _refusal(oldest: int, token: int = 0, selection: int = 0) -> NotSubscribed:
    """Of who asks for more than is kept. See the frame."""
    gap = HistoryGap(
        "the history is not complete any more behind what you have seen, but from "
        f"{oldest} on: read the keys, and subscribe after that",
        oldest,
    )
    return NotSubscribed(token, gap.uri, gap.message, gap.oldest, selection)
