"""Publishes that have to do with keys: they change one, or depend on one.

Owns: which publishes wait for which transaction, and how those end whose commit fails. Never: the
store itself; who is told (see `broker`); keys (see `retention`); who waits for a key (see `turns`).
"""

from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
    Again,
    Event,
    Frame,
    Publish,
    Published,
)
from fox_shard.backplane.refusals import refused
from fox_shard.errors import ConditionFailed, InvalidPayload, Refusal, UnavailableStore
from fox_shard.shard.keys.change import Change
from fox_shard.shard.keys.conditions import is_shown
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.links.outcomes import HIDDEN, PARKED, REFUSED, Ledger, condition_failed
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.commit_queue import (
    PLAIN,
    Effect,
    Gate,
    Granted,
    Group,
    Parked,
    event_of,
)
from fox_shard.shard.publishing.conditional import Turns
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.topics.topic import in_sequence

UNKNOWN = -1
"""In place of the key's publication id in `Refused`."""


@final
class Commits:
    """See the module."""

    __slots__ = (
        "_broker",
        "_gate",
        "_journal",
        "_ledger",
        "_retention",
        "_wills",
        "dropped",
        "last",
        "recorded",
        "turns",
    )

    def __init__(
        self, broker: Broker, retention: Retention, turns: Turns, gate: Gate, ledger: Ledger
    ) -> None:
        self._broker = broker
        self._retention = retention
        self.turns = turns
        self._gate = gate
        self._ledger = ledger
        self._journal = ledger.journal
        # What keys are to become that could not be stored.
        self._wills: list[Publish] = []
        # Publishes that had no effect and could not be refused: nobody waited for an answer.
        self.dropped = 0
        # The last that was recorded, and how many were since somebody asked.
        self.last = 0
        self.recorded = 0

    def publish(self, peer: Peer | None, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """As `Broker.publish`, for any publish. rseq: its reliable number, 0: none.

        peer: who has sent it, None: nobody, it is of a session that has gone. replies: gets what is
        to be answered when the batch has passed. What has to wait is held.
        """
        stored = self._retention.is_stored(publish)
        from_outbox = rseq > 0 and peer is not None and peer.kind is Kind.COORDINATOR
        careful = peer is not None and peer.careful and (stored or from_outbox)
        if careful and peer is not None and self._ledger.is_recorded(peer, rseq):
            self._answer_again(peer, publish, rseq, replies)
        elif not self._retention.meets(publish):
            self._unmet(peer, publish, rseq, replies, stored=stored)
        elif stored and self._journal.failing:
            self._unavailable(publish, rseq, replies)
        else:
            try:
                recorded = stored or (from_outbox and not self._journal.failing)
                self._change(peer, publish, rseq, replies, recorded=recorded)
            except InvalidPayload as error:
                self._refuse(publish, error, replies)

    def _change(
        self,
        peer: Peer | None,
        publish: Publish,
        rseq: int,
        replies: list[Frame],
        *,
        recorded: bool,
    ) -> None:
        """Raises InvalidPayload."""
        if recorded:
            publish.flags |= RECORDED
        gateway, incarnation = ("", 0) if peer is None else (peer.name, peer.link.peer_incarnation)
        effect = self._retention.change(publish, gateway, incarnation)
        event = event_of(effect)
        assert event is not None
        if recorded:
            self._ledger.note(rseq, self.note(effect))
            self._retention.archive.record(event, self._journal.ticket)
            self._gate.hold(self._journal.ticket, effect, rseq)
        else:
            # It does not overtake what waits for a commit.
            ticket = self._gate.ticket_of(publish.session, publish.realm, publish.topic)
            self._retention.archive.record(event, ticket)
            if ticket:
                self._gate.hold(ticket, effect, PLAIN)
            else:
                self._broker.tell(effect, replies)
        if isinstance(effect, Change):
            self.turns.changed(effect.place)

    def note(self, effect: Event | Change) -> int:
        """It is recorded; returns its id."""
        event = event_of(effect)
        assert event is not None
        self.last = max(self.last, event.publication)
        self.recorded += 1
        return event.publication

    # Publishes without effect

    def _unmet(
        self,
        peer: Peer | None,
        publish: Publish,
        rseq: int,
        replies: list[Frame],
        *,
        stored: bool,
    ) -> None:
        """The condition does not hold."""
        if publish.keep is not None and publish.keep.watch and peer is not None:
            if stored and self._journal.failing:
                self._unavailable(publish, rseq, replies)
            else:
                self.turns.park(peer, publish, rseq, stored=stored)
            return
        # That it failed is recorded, too: what the publisher is told must stay true.
        key = self._retention.key((publish.realm, publish.topic))
        present = 0 if key is None else key.publication
        if key is not None and not is_shown(key, publish.session):
            present = HIDDEN
        answers: list[Frame] = []
        self._refuse_condition(publish, present, answers)
        if not stored or self._journal.failing:
            replies.extend(answers)
            return
        self._ledger.note(rseq, condition_failed(present))
        group = self._gate.group(self._journal.ticket)
        group.effects.extend((answer, PLAIN) for answer in answers)

    def _refuse_condition(self, publish: Publish, present: int, replies: list[Frame]) -> None:
        what = f"a key whose publication id is {present}" if present else "no key"
        then = "read the key, and decide anew"
        if present == HIDDEN:
            what, then, present = "a key of somebody else's", "it goes with his session", UNKNOWN
        error = ConditionFailed(f"the condition does not hold, there is {what}: {then}", present)
        self._refuse(publish, error, replies)

    def _unavailable(self, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """Nothing can be stored."""
        self._ledger.note(rseq, REFUSED)
        self._refuse(publish, unavailable(self._journal.failing), replies)

    def _refuse(self, publish: Publish, error: Refusal, replies: list[Frame]) -> None:
        if publish.flags & ACKNOWLEDGE:
            replies.append(refused(Publish, publish.session, publish.request, error))
        else:
            self.dropped += 1

    # Sessions end, time passes

    def went(self, change: Change) -> None:
        """A key has gone by itself."""
        if change.unsettled:
            self._gate.hold(self._journal.ticket, change, 0)
        else:
            self._broker.tell(change, [])
        self.turns.changed(change.place)

    def session_left(self, session: int, replies: list[Frame]) -> None:
        """It waits for nothing any more, its weak keys go, its keys take the values it willed."""
        self.turns.session_left(session)
        self._end(*self._retention.session_left(session), replies)

    def end_more(self) -> None:
        """Sessions that have left had more keys than could go at once."""
        self._end(*self._retention.end_more(), [])

    def _end(self, changes: list[Change], wills: list[Publish], replies: list[Frame]) -> None:
        for change in changes:
            self.went(change)
        for will in wills:
            if self._journal.failing and self._retention.is_stored(will):
                self._wills.append(will)
            else:
                self.publish(None, will, 0, replies)

    # After a restart, after a failure

    @property
    def has_put_off(self) -> bool:
        """Is `go_on` due when the store works and everybody is here?"""
        return bool(self._wills) or self.turns.has_put_off

    def go_on(self) -> None:
        """Everybody has replayed, and the store works (again): do what was put off."""
        wills, self._wills = self._wills, []
        for will in wills:
            self._retention.ends_now(will)
        self._end([], wills, [])
        self.turns.go_on()

    def _answer_again(self, peer: Peer, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """It had its effect before the restart; who has not heard of that hears of it now."""
        publication = self._ledger.outcome(peer, rseq)
        if publication is None or publication == PARKED:
            return
        if publication == REFUSED:
            self._refuse(publish, unavailable("the store did not work then"), replies)
        elif publication < 0:
            self._refuse_condition(publish, condition_failed(publication), replies)
        else:
            self._send_again(publish, publication, replies)

    def _send_again(self, publish: Publish, publication: int, replies: list[Frame]) -> None:
        event = Event(publication, publish)
        keep = publish.keep
        if keep is not None and keep.sequence:
            publish.topic = in_sequence(publish.topic, publication)
        if keep is not None and keep.patch and not publish.flags & EMPTY:
            key = self._retention.key((publish.realm, publish.topic))
            if key is None or key.publication != publication:
                # What it made of the key is past, and nobody knows it any more.
                if publish.flags & ACKNOWLEDGE:
                    replies.append(Published(publish.session, [publish.request], [publication]))
                return
            event = key
        else:
            self._retention.archive.mark(publish)
        ticket = self._gate.ticket_of(publish.session, publish.realm, publish.topic)
        if ticket:
            self._gate.hold(ticket, Again(event), PLAIN)
        else:
            self._broker.send_again(event, replies)

    def undo(self, groups: list[Group], why: str) -> list[list[Frame]]:
        """Those groups' transactions have failed. What of their effects remains is left in them.

        Returns the refusals of each.
        """
        ends = self._retention.undo()
        refusals = [self._undo_group(group, why) for group in groups]
        self.turns.undone()
        self._end(*ends, [])
        return refusals

    def _undo_group(self, group: Group, why: str) -> list[Frame]:
        replies: list[Frame] = []
        remaining: list[Effect] = []
        rseqs: list[int] = []
        for effect, rseq in group.effects:
            if rseq == PLAIN or not self._undone(effect, why, replies):
                remaining.append((effect, rseq))
            elif rseq:
                rseqs.append(rseq)
        if rseqs and group.peer is not None:
            self._ledger.refused(group.peer.name, group.identity, rseqs)
        group.effects = remaining
        return replies

    def _undone(self, effect: object, why: str, replies: list[Frame]) -> bool:
        """Returns whether that effect depended on the commit; it is dealt with then."""
        if isinstance(effect, Granted):
            self.turns.undo(effect)
            return True
        if isinstance(effect, Parked):
            if self.turns.drop(effect.waiter):
                self._refuse(effect.waiter.publish, unavailable(why), replies)
            return True
        if isinstance(effect, Change) and effect.event is None:
            return True  # it ends again: see `Retention.undo`
        event = event_of(effect)
        if event is None or not self._retention.is_stored(event.publish):
            return False
        self._refuse(event.publish, unavailable(why), replies)
        return True


def unavailable(why: str) -> UnavailableStore:
    """Why a publish has no effect."""
    return UnavailableStore(f"it cannot be stored ({why}): publish it again later")
