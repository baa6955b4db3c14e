"""The subscriptions of the gateways, and their replays.

Owns: subscribing and unsubscribing; which subscriptions outlive a broken link; the replays that are
running, or wait until recovery is over. Never: events (see `broker`), what a replay consists of.
"""

from collections import OrderedDict
from typing import final

from fox_shard.backplane.frames import (
    CaughtUp,
    Listened,
    More,
    NotSubscribed,
    Paused,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.errors import HistoryGap
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.directory import Directory
from fox_shard.shard.pubsub.meta_listeners import MetaListeners
from fox_shard.shard.pubsub.missed import Missed
from fox_shard.shard.pubsub.realms import RealmIndexes
from fox_shard.shard.pubsub.replay import Replay
from fox_shard.shard.pubsub.selectors import Selector
from fox_shard.topics.pattern import Pattern

SubscriptionKey = tuple[str, str, int]
"""Realm, text of the pattern, and id of the selector (0: none) of a subscription."""


@final
class Subscriptions:
    """The subscriptions and replays of all peers on this shard."""

    __slots__ = (
        "_budget",
        "_clock",
        "_directory",
        "_histories",
        "_listeners",
        "_realms",
        "_replays",
        "_stale",
        "_subscribed",
        "_waiting",
        "_welcomed",
        "_without_token",
    )

    def __init__(
        self,
        realms: RealmIndexes,
        clock: PublicationClock,
        histories: Histories,
        budget: Budget,
        directory: Directory,
        listeners: MetaListeners,
    ) -> None:
        """budget: the turn's, which pays for replays.

        directory, listeners: are told of all subscriptions.
        """
        self._directory = directory
        self._listeners = listeners
        self._budget = budget
        self._realms = realms
        self._clock = clock
        self._histories = histories
        self._subscribed: dict[Peer, dict[SubscriptionKey, Pattern | Selector]] = {}
        # Subscriptions that a returned peer had before and has not replayed yet.
        self._stale: dict[Peer, set[SubscriptionKey]] = {}
        # Running replays by token.
        self._replays: dict[Peer, dict[int, Replay]] = {}
        # Requests that wait for their answers, and replays that wait to go on with their pages: for
        # `begin_replays`, or for a turn with enough budget. Each goes on for a slice in its turn.
        # By peer and token; what has no token gets negative numbers instead.
        self._waiting: OrderedDict[tuple[Peer, int], Subscribe | Replay | Missed] = OrderedDict()
        self._without_token = 0
        # Whether `begin_replays` has been called.
        self._welcomed = False

    def of(self, peer: Peer) -> dict[SubscriptionKey, Pattern | Selector]:
        """Return the peer's subscriptions."""
        return self._subscribed.get(peer, {})

    def replays(self, peer: Peer) -> dict[int, Replay]:
        """Return the peer's running replays by token."""
        return self._replays.get(peer, {})

    # Subscribing

    def subscribe(self, peer: Peer, subscribe: Subscribe) -> None:
        """Subscribe the peer, begin the replay that it asks for, and answer. Idempotent.

        Until `begin_replays`, requests with a replay and those of followers wait for their answers,
        and so do those of listeners to meta events until the coordinator is ready.
        """
        if not subscribe.once:
            self._add(peer, subscribe)
        if self._listeners.holds(peer, subscribe):
            return
        follows = subscribe.selector is not None and subscribe.selector.follow
        if not (subscribe.replay or subscribe.after is not None or follows):
            self._answer(peer, subscribe)
        else:
            # Frames that are sent again (`Again`) must precede what a new subscriber is shown.
            if subscribe.token:
                self._waiting[peer, subscribe.token] = subscribe
            elif follows and subscribe.start_id and not subscribe.once:
                self._await_missed(peer, subscribe)
            self._go_on()

    def _add(self, peer: Peer, subscribe: Subscribe) -> None:
        spec = subscribe.selector
        wanted = (subscribe.realm, subscribe.pattern, 0 if spec is None else spec.id)
        self._stale.get(peer, set()).discard(wanted)
        subscribed = self._subscribed.setdefault(peer, {})
        if wanted in subscribed:
            return
        index, pattern = self._realms[subscribe.realm], Pattern.parse(subscribe.pattern)
        created = subscribe.created or self._clock.wall
        self._directory.add(peer, subscribe.realm, pattern, wanted[2], created)
        self._listeners.added(subscribe.realm, pattern)
        if spec is None:
            subscribed[wanted] = pattern
            index.add(peer, pattern)
        else:
            subscribed[wanted] = selector = Selector(peer, pattern, spec)
            index.add_selector(selector)

    def _answer(self, peer: Peer, subscribe: Subscribe) -> None:
        """Confirm or refuse the subscription, and begin its replay if it has one.

        Without a token, nothing is confirmed.
        """
        if not (subscribe.replay or subscribe.after is not None):
            if subscribe.token:
                peer.link.send(Subscribed(subscribe.token))
            return
        replay = self._new_replay(peer, subscribe)
        if self._refuse_if_incomplete(replay):
            return
        self._begin_replay(replay)
        replay.begin_page(first=True)
        if subscribe.after is None:
            replay.go_on()
        # The gateway ignores live events until `Subscribed`, and keeps the first page until all
        # shards have confirmed, since the session must get SUBSCRIBED first.
        peer.link.send(Subscribed(subscribe.token))
        self._end_page(replay)

    def _await_missed(self, peer: Peer, subscribe: Subscribe) -> None:
        """Let followers wait for the recorded events that they missed while the link was broken."""
        spec = subscribe.selector
        assert spec is not None
        selector = self._subscribed[peer][subscribe.realm, subscribe.pattern, spec.id]
        assert isinstance(selector, Selector)
        realm = self._realms[subscribe.realm].realm
        self._without_token -= 1
        self._waiting[peer, self._without_token] = Missed(
            selector,
            subscribe.start_id,
            realm.document_of,
            self._histories[realm.name],
            self._budget,
        )
        peer.followers_behind += 1

    def _send_missed(self, missed: Missed) -> bool:
        """Send followers some of what they missed; return whether they have all of it now.

        If some of it is no longer kept, the followers are refused instead. Those that have
        unsubscribed are sent nothing.
        """
        selector = missed.selector
        oldest = missed.gap() if selector.behind else 0
        if oldest:
            selector.peer.link.send_reliable(_refusal(oldest, spec=selector.id))
            selector.behind = False
        elif selector.behind and not missed.go_on():
            return False
        selector.peer.followers_behind -= 1
        return True

    def unsubscribe(self, peer: Peer, unsubscribe: Unsubscribe) -> None:
        """End the subscription; one that does not exist is ignored."""
        self._remove(peer, (unsubscribe.realm, unsubscribe.pattern, unsubscribe.selector))

    def _remove(self, peer: Peer, wanted: SubscriptionKey) -> None:
        subscribed = self._subscribed.get(peer, {}).pop(wanted, None)
        if subscribed is None:
            return
        realm, _, selector = wanted
        if isinstance(subscribed, Pattern):
            pattern = subscribed
            self._realms[realm].remove(peer, pattern)
        else:
            pattern = subscribed.pattern
            subscribed.behind = False
            self._realms[realm].remove_selector(subscribed)
        self._directory.remove(peer, realm, pattern, selector)
        self._listeners.removed(realm, pattern)

    def listened(self, frame: Listened) -> None:
        """Answer the listeners to meta events that have waited for the coordinator."""
        self._waiting.update(self._listeners.listened(frame))
        self._go_on()

    # Peers come and go

    def begin_replays(self) -> None:
        """Answer the requests that waited: frames that were sent again have been handled."""
        self._welcomed = True
        self._listeners.sync_ended()
        self._go_on()

    def link_opened(self, peer: Peer) -> None:
        """Note which subscriptions the peer had before it replays them."""
        self._stale[peer] = set(self.of(peer))

    def sync_ended(self, peer: Peer) -> None:
        """Remove the subscriptions that the peer had before and has not replayed."""
        for wanted in sorted(self._stale.pop(peer, ())):
            self._remove(peer, wanted)

    def link_broken(self, peer: Peer) -> None:
        """Drop the peer's replays, running or waiting: the peer asks again in the next pair."""
        for waiting in [one for one in self._waiting if one[0] is peer]:
            del self._waiting[waiting]
        self._listeners.link_broken(peer)
        peer.followers_behind = 0
        for replay in list(self.replays(peer).values()):
            self._end_replay(replay)

    def peer_gone(self, peer: Peer) -> None:
        """Drop all of the peer's subscriptions."""
        for wanted in list(self.of(peer)):
            self._remove(peer, wanted)
        self._stale.pop(peer, None)

    def forget(self, peer: Peer) -> None:
        """Keep nothing of the peer, which is gone and will have no subscriptions."""
        for of_peers in (self._subscribed, self._stale, self._replays):
            of_peers.pop(peer, None)

    # Replays

    def _new_replay(self, peer: Peer, subscribe: Subscribe) -> Replay:
        realm, pattern = self._realms[subscribe.realm].realm, Pattern.parse(subscribe.pattern)
        spec = subscribe.selector
        selector = None if spec is None else Selector(peer, pattern, spec)
        history = self._histories[realm.name]
        return Replay(
            peer,
            pattern,
            subscribe,
            selector,
            realm.keys,
            realm.document_of,
            history,
            self._budget,
        )

    @staticmethod
    def _refuse_if_incomplete(replay: Replay) -> bool:
        """Refuse the replay if its history has gaps; return whether it has."""
        oldest = replay.gap()
        if oldest:
            replay.peer.link.send(_refusal(oldest, replay.token))
        return bool(oldest)

    def _begin_replay(self, replay: Replay) -> None:
        self._replays.setdefault(replay.peer, {})[replay.token] = replay
        self._realms[replay.realm].add_replay(replay)

    def more(self, peer: Peer, more: More) -> None:
        """Send the next page, or end the replay (`enough`); ignore one that has ended."""
        replay, place = self.replays(peer).get(more.token), (peer, more.token)
        if more.enough:
            # It may not have begun yet.
            self._waiting.pop(place, None)
            self._listeners.give_up(*place)
            if replay is not None:
                self._end_replay(replay)
        elif replay is not None and place not in self._waiting:
            replay.begin_page()
            self._waiting[place] = replay
            self._go_on()

    def go_on(self, _now: float) -> None:
        """Answer requests and send pages, as far as the turn's budget goes; call every turn."""
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and self._welcomed and not self._budget.exhausted:
            self._budget.spend(1)
            place, waiting = self._waiting.popitem(last=False)
            if isinstance(waiting, Missed):
                if not self._send_missed(waiting):
                    self._waiting[place] = waiting
            elif not isinstance(waiting, Replay):
                self._answer(place[0], waiting)
            elif self._refuse_if_incomplete(waiting):
                self._end_replay(waiting)
            elif waiting.go_on():
                self._end_page(waiting)
            else:
                self._waiting[place] = waiting

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return self._welcomed and bool(self._waiting)

    def _end_page(self, replay: Replay) -> None:
        if not replay.done:
            replay.peer.link.send(Paused(replay.token))
        else:
            durable = replay.history.durable_up_to(self._clock.last) if replay.follows else 0
            replay.peer.link.send(CaughtUp(replay.token, durable))
            self._end_replay(replay)

    def _end_replay(self, replay: Replay) -> None:
        del self._replays[replay.peer][replay.token]
        self._realms[replay.realm].remove_replay(replay)


def _refusal(oldest: int, token: int = 0, spec: int = 0) -> NotSubscribed:
    """Return the refusal of a request for history that is no longer kept; see `NotSubscribed`."""
    gap = HistoryGap(
        "the history is not complete any more behind what you have seen, but from "
        f"{oldest} on: read the keys, and subscribe after that",
        oldest,
    )
    return NotSubscribed(token, gap.uri, gap.message, gap.oldest, spec)
