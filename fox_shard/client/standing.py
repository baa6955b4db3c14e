"""Subscriptions and registrations, which outlive the session in which they were made.

Owns: making them again, in order; whom an event is for; what is asked again later. Never: what a
program has seen (see `resumption`), publishes and calls.

The router knows one subscription of a session for all that agree in pattern and options. Programs
may have several, which share it.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final, TypeAlias, final

from fox_shard.client.backoff import Backoff
from fox_shard.client.effects import Answered, Arrived, Effect, Failed, Over
from fox_shard.client.event import event_of
from fox_shard.client.failures import ConnectionLost, Failure, Refused
from fox_shard.client.resumption import State
from fox_shard.client.wanted import Wanted, WantedRegistration, WantedSubscription
from fox_shard.gateway.wamp import messages as wamp

TEMPORARY: Final = frozenset(
    {
        "wamp.error.unavailable",
        "fox.error.unavailable_store",
        "fox.error.limit_exceeded",
        # The lost session has it until the router notices that the session is gone.
        "wamp.error.procedure_already_exists",
    }
)
"""Errors after which a subscription or registration that was there before is tried again."""

SNAPSHOT_OVER: Final = "fox.close.snapshot"
TABLE_DEFINED: Final = "fox.close.table_defined"
"""Reasons for which the router revokes a subscription."""

Ask: TypeAlias = Callable[..., tuple[int, Effect]]
"""Makes a request of a kind with these fields: its id, and the effect that sends it."""


@final
class Standing:
    """All subscriptions and registrations of one program."""

    def __init__(self, ask: Ask, chance: Callable[[], float]) -> None:
        """chance: returns random numbers from 0 to 1."""
        self._ask = ask
        self._chance = chance
        self._joined = False
        # In the order in which they were made.
        self._items: dict[int, Wanted] = {}
        # Request id -> what it asks for.
        self._asked: dict[int, Wanted] = {}
        # The router's id -> the programs' subscriptions, or the registration.
        self._members: dict[int, list[WantedSubscription]] = {}
        self._registered: dict[int, WantedRegistration] = {}
        # Identity of snapshots under way -> those that wait for their end.
        self._snapshots: dict[bytes, deque[WantedSubscription]] = {}
        # Ids of UNSUBSCRIBE and UNREGISTER -> the tickets that are told of the answer.
        self._ending: dict[int, int] = {}
        # What is asked again later -> when.
        self._later: dict[Wanted, float] = {}

    @property
    def deadline(self) -> float:
        """When `tick` must be called."""
        return min(self._later.values(), default=inf)

    # The session

    def joined(self) -> list[Effect]:
        """Ask for everything in the new session."""
        self._joined = True
        effects: list[Effect] = []
        for item in self._items.values():
            effects += self._ask_again(item)
        return effects

    def lost(self, why: str) -> list[Effect]:
        """Note that the session is over."""
        self._joined = False
        for memory in (
            self._asked,
            self._members,
            self._registered,
            self._snapshots,
            self._later,
        ):
            memory.clear()
        effects: list[Effect] = [Answered(ticket, []) for ticket in self._ending.values()]
        self._ending.clear()
        for item in [*self._items.values()]:
            item.number = 0
            if isinstance(item, WantedSubscription) and not item.stays:
                del self._items[item.ticket]
                effects.append(_failure(item, ConnectionLost(why)))
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Ask again for what was refused for a while."""
        due = [item for item, at in self._later.items() if at <= now]
        effects: list[Effect] = []
        for item in due:
            del self._later[item]
            effects += self._request(item)
        return effects

    # What programs want

    def subscribe(
        self, ticket: int, pattern: str, options: dict[str, Any], *, stays: bool
    ) -> list[Effect]:
        """Subscribe, now or as soon as there is a session.

        stays: it is made again in later sessions. Raises Failure if the program follows the history
        of this pattern already: the router could not tell the two apart.
        """
        item = WantedSubscription(ticket, pattern, options, Backoff(self._chance), stays=stays)
        if options.get("after") is not None and not item.is_snapshot:
            for other in self._items.values():
                if isinstance(other, WantedSubscription) and other.identity == item.identity:
                    raise Failure(f"This client follows {pattern!r} already.")
        self._items[ticket] = item
        return self._request(item) if self._joined else []

    def register(self, ticket: int, procedure: str, options: dict[str, Any]) -> list[Effect]:
        """Register, now or as soon as there is a session, and again in later sessions."""
        item = WantedRegistration(ticket, procedure, options, Backoff(self._chance))
        self._items[ticket] = item
        return self._request(item) if self._joined else []

    def unsubscribe(self, ticket: int, answer: int = 0) -> list[Effect]:
        """End a subscription, if it is not over.

        answer: the ticket that is told when that has happened; 0: nobody waits for it.
        """
        item = self._items.pop(ticket, None)
        if not isinstance(item, WantedSubscription):
            return _done(answer)
        item.ended = True
        self._later.pop(item, None)
        for waiting in self._snapshots.values():
            if item in waiting:
                waiting.remove(item)
        return self._leave(item, answer) if item.number else _done(answer)

    def unregister(self, ticket: int, answer: int = 0) -> list[Effect]:
        """End a registration, if it is not over. answer: as for `unsubscribe`."""
        item = self._items.pop(ticket, None)
        if not isinstance(item, WantedRegistration):
            return _done(answer)
        item.ended = True
        self._later.pop(item, None)
        if not item.number:
            return _done(answer)
        del self._registered[item.number]
        return self._end(wamp.UNREGISTER, item.number, answer)

    # What the router says

    def registered(self, number: int) -> int:
        """Return the ticket of a registration; 0: there is none."""
        found = self._registered.get(number)
        return 0 if found is None else found.ticket

    def event(
        self,
        number: int,
        publication: int,
        details: dict[str, Any],
        payload: list[Any],
        size: int,
    ) -> list[Effect]:
        """Take an EVENT."""
        effects: list[Effect] = []
        event = None
        for item in self._members.get(number, ()):
            event = event or event_of(item.pattern, publication, details, *payload[:2])
            if item.checks is not None:
                if isinstance(item.checks.resumption, State):
                    item.checks.resumption.is_there(event.topic)
            elif item.resumption.shows(event):
                effects.append(Arrived(item.ticket, event, size))
        return effects

    def answer(self, message: list[Any]) -> list[Effect]:
        """Take an answer, or what the router revokes."""
        match message:
            case [wamp.SUBSCRIBED | wamp.REGISTERED, int(request), int(number)]:
                return self._confirmed(request, number)
            case [wamp.UNSUBSCRIBED | wamp.UNREGISTERED, int(request)] if request in self._ending:
                return _done(self._ending.pop(request))
            case [wamp.UNSUBSCRIBED, 0, dict(details)]:
                return self._revoked(details["subscription"], _reason(details))
            case [wamp.UNREGISTERED, 0, dict(details)]:
                return self._taken_over(details["registration"], _reason(details))
            case _:
                return []  # An answer that nobody waits for.

    def refused(self, request: int, error: Refused, now: float) -> list[Effect]:
        """Take an ERROR."""
        if request in self._ending:
            return _done(self._ending.pop(request))  # It was over already.
        item = self._asked.pop(request, None)
        if item is None or item.ended:
            return []
        again = item.confirmed or (isinstance(item, WantedSubscription) and item.checks is not None)
        if again and error.uri in TEMPORARY:
            self._later[item] = now + item.backoff.next()
            return self._next_snapshot(item) if isinstance(item, WantedSubscription) else []
        return self._give_up(item, error)

    def _give_up(self, item: Wanted, error: Failure) -> list[Effect]:
        effects: list[Effect] = []
        if isinstance(item, WantedSubscription):
            effects += self._next_snapshot(item)
            if item.checks is not None:
                effects += self.unsubscribe(item.checks.ticket)
                item = item.checks
        self._items.pop(item.ticket, None)
        return [*effects, _failure(item, error)]

    def _confirmed(self, request: int, number: int) -> list[Effect]:
        item = self._asked.pop(request, None)
        if item is None:
            return []
        item.number = number
        item.backoff.reset()
        first, item.confirmed = not item.confirmed, True
        if isinstance(item, WantedRegistration):
            if item.ended:
                return [self._ask(wamp.UNREGISTER, number)[1]]
            self._registered[number] = item
            return [Answered(item.ticket, [number])] if first else []
        self._members.setdefault(number, []).append(item)
        if item.ended:
            return self._leave(item)
        effects: list[Effect] = []
        if first and item.checks is None:
            effects.append(Answered(item.ticket, [number]))
        if item.incomplete:
            item.incomplete = False
            effects += self._check(item)
        return effects

    def _check(self, item: WantedSubscription) -> list[Effect]:
        """Begin a snapshot that shows which keys of a state stream have gone."""
        kept = [name for name in ("match", "filter") if name in item.options]
        same: dict[str, Any] = {name: item.options[name] for name in kept}
        snapshot: dict[str, Any] = {**same, "retained": True, "snapshot": True}
        check = WantedSubscription(
            0, item.pattern, snapshot, Backoff(self._chance), stays=False, checks=item
        )
        return self._request(check)

    def _taken_over(self, number: int, reason: str) -> list[Effect]:
        item = self._registered.pop(number, None)
        if item is None:
            return []
        del self._items[item.ticket]
        sentence = f"The router has revoked the registration of {item.procedure!r} ({reason})."
        return [Over(item.ticket, Refused(reason, [sentence]))]

    def _revoked(self, number: int, reason: str) -> list[Effect]:
        effects: list[Effect] = []
        for item in self._members.pop(number, []):
            item.number = 0
            effects += self._over(item, reason)
        return effects

    def _over(self, item: WantedSubscription, reason: str) -> list[Effect]:
        if reason == TABLE_DEFINED and item.stays:
            return self._ask_again(item)
        if reason != SNAPSHOT_OVER:
            sentence = f"The router has revoked the subscription to {item.pattern!r} ({reason})."
            return self._give_up(item, Refused(reason, [sentence]))
        effects = self._next_snapshot(item)
        if item.checks is None:
            del self._items[item.ticket]
            return [*effects, Over(item.ticket, None)]
        parent = item.checks
        if isinstance(parent.resumption, State) and parent.number:
            effects += [Arrived(parent.ticket, event, 0) for event in parent.resumption.gone()]
        return effects

    # Requests

    def _ask_again(self, item: Wanted) -> list[Effect]:
        """Ask for what the program has had in an earlier session, or has waited for."""
        if isinstance(item, WantedSubscription) and item.confirmed:
            item.incomplete = item.resumption.resume()
        return self._request(item)

    def _request(self, item: Wanted) -> list[Effect]:
        if isinstance(item, WantedRegistration):
            request, effect = self._ask(wamp.REGISTER, item.options, item.procedure)
        else:
            if item.is_snapshot:
                waiting = self._snapshots.get(item.identity)
                if waiting is not None:
                    waiting.append(item)
                    return []
                self._snapshots[item.identity] = deque()
            request, effect = self._ask(wamp.SUBSCRIBE, item.resumption.options(), item.pattern)
        self._asked[request] = item
        return [effect]

    def _next_snapshot(self, item: WantedSubscription) -> list[Effect]:
        """Begin the snapshot that waits for the end of this one, if any."""
        waiting = self._snapshots.pop(item.identity, None) if item.is_snapshot else None
        if not waiting:
            return []
        effects = self._request(waiting.popleft())
        self._snapshots[item.identity] = waiting
        return effects

    def _leave(self, item: WantedSubscription, answer: int = 0) -> list[Effect]:
        """End a subscription; the router's one stays as long as others share it."""
        number, item.number = item.number, 0
        members = self._members[number]
        members.remove(item)
        asked = any(
            isinstance(other, WantedSubscription) and other.identity == item.identity
            for other in self._asked.values()
        )
        # The next snapshot does not share this one, the rest of which would be its beginning.
        effects = self._next_snapshot(item)
        if members or asked:
            return effects + _done(answer)
        del self._members[number]
        return [*self._end(wamp.UNSUBSCRIBE, number, answer), *effects]

    def _end(self, kind: int, number: int, answer: int) -> list[Effect]:
        request, effect = self._ask(kind, number)
        if answer:
            self._ending[request] = answer
        return [effect]


def _failure(item: Wanted, error: Failure) -> Effect:
    return Over(item.ticket, error) if item.confirmed else Failed(item.ticket, error)


def _done(ticket: int) -> list[Effect]:
    """Tell that something has ended, unless nobody waits for that."""
    return [Answered(ticket, [])] if ticket else []


def _reason(details: dict[str, Any]) -> str:
    return str(details.get("reason", "wamp.close.normal"))
