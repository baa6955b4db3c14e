"""Built-in reducers: the functions that the configuration names, folded in the shard itself.

Owns: what they make of keys. Never: the functions (see `functions`); queues.

An event is folded in the transaction in which it is published. If the key is another shard's, the
event joins a queue there; then all events that wait for one key are folded in one step.
"""

from collections.abc import Iterable, Sequence
from typing import Any, final

from fox_shard.backplane.frames import Event, Publish
from fox_shard.config import Realm as Settings
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK, as_one, decode, encode
from fox_shard.errors import InvalidPayload, LimitExceeded, Refusal
from fox_shard.shard.budget import SLICE_UNITS, Budget, units_of
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.reducers.answers import failure, refusal_of
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.functions import Function, Unchanged
from fox_shard.shard.reducers.queues import Queues
from fox_shard.shard.reducers.reducer import KeyQueue, Reducer
from fox_shard.shard.rows import KeyRef
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern

WRITABLE = (JSON, MSGPACK, CBOR)
"""The encodings in which a value can be written."""

AT_ONCE = 500
"""The most events that are folded in one step; fewer if they, or the key, are large."""

Effect = KeyChange | Publish
"""A change of a key that a reducer has made, or the publish that tells of a failure."""


@final
class BuiltIns:
    """The built-in reducers of one shard."""

    __slots__ = ("_budget", "_catalog", "_limit", "_queues", "_retained_keys")

    def __init__(
        self,
        settings: Iterable[Settings],
        catalog: Catalog,
        queues: Queues,
        retained_keys: RetainedKeys,
        budget: Budget,
        limit: int,
    ) -> None:
        """settings: those of the configured realms. limit: bytes of a key's value at most."""
        self._catalog = catalog
        self._queues = queues
        self._retained_keys = retained_keys
        self._budget = budget
        self._limit = limit
        for realm in settings:
            for one in realm.reducer:
                if one.is_built_in:
                    text = Pattern.wamp(one.pattern, one.match).text
                    name = f"{text}\0{one.function}\0{one.field}\0{one.limit}\0{one.destination}"
                    id_ = pattern_id(realm.name, "built-in", name)
                    function = Function(one.function, one.field, one.limit)
                    catalog.get(id_, realm.name, text, one.destination, "", function)

    def fold(self, reducers: Sequence[Reducer], event: Event, *, stored: bool) -> list[Effect]:
        """Fold an event with those of the reducers that are built in and have their keys here.

        stored: the event is part of the present transaction. Return the effects.
        """
        effects: list[Effect] = []
        for reducer in reducers:
            if reducer.function is not None and not self._queues.room.is_elsewhere(reducer):
                ref = (reducer.realm, reducer.mission or event.publish.topic)
                folded, (reduced,) = self._fold(reducer, ref, [event], stored=stored)
                self._queues.note(reducer, folded=reduced, failed=not reduced)
                effects += folded
        return effects

    def fold_queue(self, queue: KeyQueue) -> list[Effect]:
        """Fold events that are ready in a queue; return the effects."""
        reducer = queue.reducer
        events = [queued.event for queued in queue.first(AT_ONCE)]
        stored = self._catalog.is_stored(reducer.realm)
        ref = (reducer.realm, queue.topic)
        effects, outcomes = self._fold(reducer, ref, events, stored=stored)
        for reduced in outcomes:
            self._queues.take_off(queue, reduced=reduced)
        return effects

    def _fold(
        self, reducer: Reducer, ref: KeyRef, events: list[Event], *, stored: bool
    ) -> tuple[list[Effect], list[bool]]:
        """Fold events into a key, in one step; those that cannot be folded are left out.

        Return the effects, and for each event that was dealt with, whether it was reduced. With
        large values these are not all: each event writes the whole value, to know its size.
        """
        effects: list[Effect] = []
        least = self._budget.left - SLICE_UNITS
        present, encoding = self._present(ref)
        last = 0
        outcomes: list[bool] = []
        for event in events:
            if outcomes and self._budget.left < least:
                break
            outcomes.append(True)
            try:
                value = self._value(reducer, event.publish)
                folded = reducer.function.fold(present, value)  # type: ignore[union-attr]
                wanted = _writable(event.publish.encoding, encoding)
                written = self._written(folded, wanted)
                self._retained_keys.check_fold(ref, wanted, written, event.publication)
            except Unchanged:
                continue
            except Refusal as refusal:
                outcomes[-1] = False
                effects.append(failure(reducer, event, refusal_of(refusal), self._limit))
            else:
                present, last = folded, event.publication
                encoding, args = wanted, written
        if last:
            change = self._retained_keys.fold(ref, encoding, args, last, stored=stored)
            if change is not None:
                effects.insert(0, change)
        return effects, outcomes

    def _present(self, ref: KeyRef) -> tuple[Any, int]:
        """Return the key's present value and its encoding; None if there is no key."""
        key = self._retained_keys.shown_to_reducers(ref)
        if key is None:
            return None, JSON
        value = key.publish
        self._budget.spend(units_of(len(value.args) + len(value.kwargs)))
        try:
            return as_one(*decode(value.encoding, value.args, value.kwargs)), value.encoding
        except InvalidPayload:
            return None, JSON

    def _value(self, reducer: Reducer, publish: Publish) -> Any:  # noqa: ANN401 (a payload's)
        function = reducer.function
        assert function is not None
        if function.of_documents:
            return function.value(self._retained_keys.realms[reducer.realm].document_of(publish))
        self._budget.spend(units_of(len(publish.args) + len(publish.kwargs)))
        values, named = decode(publish.encoding, publish.args, publish.kwargs)
        return function.value_of(values, named)

    def _written(self, value: object, encoding: int) -> bytes:
        """Return the value as a payload's only argument; b"": it is null."""
        if value is None:
            return b""
        args = encode([value], {}, encoding)[0]
        self._budget.spend(units_of(len(args)))
        if len(args) > self._limit:
            raise LimitExceeded(
                f"the key would have {len(args)} bytes, and a message has at most {self._limit} "
                "(gateway.max_message_size): the key is unchanged"
            )
        return args


def _writable(encoding: int, otherwise: int) -> int:
    """Return the first of the encodings in which a value can be written."""
    if encoding in WRITABLE:
        return encoding
    return otherwise if otherwise in WRITABLE else JSON
