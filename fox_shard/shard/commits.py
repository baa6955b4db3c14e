"""Publishes that have to do with the store: they change a key, or wait for one that did.

Owns: which publishes wait for which transaction, and how those end whose commit fails. Never: the
store itself; who is told (see `broker`).
"""

from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE, RECORDED, Again, Event, Frame, Publish
from fox_shard.backplane.refusals import refused
from fox_shard.errors import ConditionFailed, UnavailableStore
from fox_shard.shard.broker import Broker
from fox_shard.shard.conditions import hold
from fox_shard.shard.gate import PLAIN, Effect, Gate, Group
from fox_shard.shard.ledger import REFUSED, Ledger, condition_failed
from fox_shard.shard.peer import Kind, Peer
from fox_shard.store.journal import Journal


@final
class Commits:
    """See the module."""

    __slots__ = ("_broker", "_gate", "_journal", "_ledger", "dropped", "last", "recorded")

    def __init__(self, broker: Broker, gate: Gate, ledger: Ledger, journal: Journal) -> None:
        self._broker = broker
        self._gate = gate
        self._ledger = ledger
        self._journal = journal
        # Publishes that had no effect and could not be refused: nobody waited for an answer.
        self.dropped = 0
        # The last that was recorded, and how many were since somebody asked.
        self.last = 0
        self.recorded = 0

    def publish(self, peer: Peer, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """As `Broker.publish`, for any publish. rseq: its reliable number, 0: none.

        replies: gets what is to be answered when the batch has passed. What has to wait is held.
        """
        stored = self._broker.is_stored(publish)
        from_outbox = peer.kind is Kind.COORDINATOR and rseq > 0
        if peer.careful and (stored or from_outbox) and self._ledger.is_recorded(peer, rseq):
            self._answer_again(peer, publish, rseq, replies)
        elif publish.keep is not None and not hold(publish.keep, self._broker.key(publish)):
            self._condition_failed(peer, publish, rseq, replies, stored=stored)
        elif stored and self._journal.failing:
            self._ledger.note(rseq, REFUSED)
            self._refuse(publish, self._journal.failing, replies)
        elif stored or (from_outbox and not self._journal.failing):
            publish.flags |= RECORDED
            event = self._broker.change(publish, peer)
            self._ledger.note(rseq, event.publication)
            self.last = event.publication
            self.recorded += 1
            self._gate.hold(self._journal.ticket, peer, event, rseq)
        else:
            self._pass_on(peer, publish, replies)

    def _pass_on(self, peer: Peer, publish: Publish, replies: list[Frame]) -> None:
        """It needs no commit itself, but does not overtake what waits for one."""
        event = self._broker.change(publish, peer)
        ticket = self._gate.ticket_of(publish.session, publish.realm, publish.topic)
        if ticket:
            self._gate.hold(ticket, peer, event, PLAIN)
        else:
            self._broker.send(event, replies)

    def _condition_failed(
        self, peer: Peer, publish: Publish, rseq: int, replies: list[Frame], *, stored: bool
    ) -> None:
        """That it failed is recorded, too: what the publisher is told must stay true."""
        key = self._broker.key(publish)
        present = key.publication if key is not None else 0
        answers: list[Frame] = []
        self._refuse_condition(publish, present, answers)
        if not stored or self._journal.failing:
            replies.extend(answers)
            return
        self._ledger.note(rseq, condition_failed(present))
        group = self._gate.group(self._journal.ticket, peer)
        group.effects.extend((answer, PLAIN) for answer in answers)

    def _refuse_condition(self, publish: Publish, present: int, replies: list[Frame]) -> None:
        if publish.flags & ACKNOWLEDGE:
            what = f"the key's value has the publication id {present}" if present else "no key"
            error = ConditionFailed(
                f"the condition does not hold, there is {what}: read the key, and decide anew",
                present,
            )
            replies.append(refused(Publish, publish.session, publish.request, error))
        else:
            self.dropped += 1

    def _answer_again(self, peer: Peer, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """It had its effect before the restart; who has not heard of that hears of it now."""
        publication = self._ledger.outcome(peer, rseq)
        if publication == REFUSED:
            self._refuse(publish, "the store did not work then", replies)
        elif publication is not None and publication < 0:
            self._refuse_condition(publish, condition_failed(publication), replies)
        elif publication is not None:
            event = Event(publication, publish)
            ticket = self._gate.ticket_of(publish.session, publish.realm, publish.topic)
            if ticket:
                self._gate.hold(ticket, peer, Again(event), PLAIN)
            else:
                self._broker.send_again(event, replies)

    def _refuse(self, publish: Publish, why: str, replies: list[Frame]) -> None:
        if publish.flags & ACKNOWLEDGE:
            error = UnavailableStore(f"the key cannot be stored ({why}): publish it again later")
            replies.append(refused(Publish, publish.session, publish.request, error))
        else:
            self.dropped += 1

    def failed(self, group: Group, why: str, replies: list[Frame]) -> list[Effect]:
        """The group's transaction has failed. Returns what of its effects remains.

        replies: gets the refusals.
        """
        remaining: list[Effect] = []
        rseqs: list[int] = []
        for frame, rseq in group.effects:
            if rseq != PLAIN and isinstance(frame, Event) and self._broker.is_stored(frame.publish):
                self._refuse(frame.publish, why, replies)
                if rseq:
                    rseqs.append(rseq)
            else:
                remaining.append((frame, rseq))
        if rseqs:
            self._ledger.refused(group.peer.name, group.identity, rseqs)
        return remaining
