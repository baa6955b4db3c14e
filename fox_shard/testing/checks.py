"""Checks of what the clients of a run have recorded.

Owns: the server's promises about events and keys, as assertions. Never: clients' behaviour.

A world is *smooth* if no process was killed, no connection broken, and no batch lost in it. In any
other world, unacknowledged publishes may be lost, and if a shard was killed, acknowledged ones may
arrive twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.records import EventRecord, PublicationRecord, SubscriptionRecord
from fox_shard.testing.world import World

FAULTS = (" starts", "is killed", "are severed", "are lost")
"""Texts in the trace that mark faults."""


def check_events(
    world: World, clients: Sequence[RecordingClient], *, smooth: bool = True, since: float = 0.0
) -> None:
    """Check that every event that is due has arrived, once, in its publisher's order, and no other.

    since: check only events that were published at that time or later. Raises AssertionError.
    """
    for publisher in clients:
        published = {sent.number: sent for sent in publisher.published if sent.at >= since}
        for subscriber in clients:
            got = [
                event
                for event in subscriber.received
                if event.publisher == publisher.name and not event.retained
            ]
            if since:
                got = [event for event in got if event.number in published]
            _check_genuine(world, subscriber, got, published)
            for stream, subscriptions in _streams(subscriber, got):
                _check_stream(
                    world, subscriber, stream, subscriptions, publisher, published, smooth=smooth
                )
            _check_session_order(world, subscriber, got, published, smooth=smooth)


def _streams(
    subscriber: RecordingClient, got: list[EventRecord]
) -> Iterable[tuple[list[EventRecord], list[SubscriptionRecord]]]:
    """Yield events that must be complete and in order, with the subscriptions they are due to.

    A WAMP client gets an event once for each matching subscription, an MQTT client once.
    """
    if isinstance(subscriber, RecordingMqttClient):
        yield got, subscriber.subscriptions
    else:
        for subscription in subscriber.subscriptions:
            yield [event for event in got if event.subscription is subscription], [subscription]


def _check_genuine(
    world: World,
    subscriber: RecordingClient,
    got: list[EventRecord],
    published: dict[int, PublicationRecord],
) -> None:
    for event in got:
        sent = published.get(event.number)
        if sent is None or sent.topic != event.topic:
            raise AssertionError(world.report(f"{subscriber.name} got {event}, sent was {sent}"))
        if sent.exclude_me and sent.publisher == subscriber.name:
            raise AssertionError(world.report(f"{subscriber.name} got its own {sent}"))
        qos = (
            _expected_qos(sent, subscriber.subscriptions)
            if isinstance(subscriber, RecordingMqttClient)
            else 0
        )
        if qos is not None and event.qos != qos:
            what = f"{subscriber.name} got {event} at {event.qos}, not {qos}: {sent}"
            raise AssertionError(world.report(what, (f'["{sent.publisher}",{sent.number}]',)))


def _expected_qos(sent: PublicationRecord, subscriptions: list[SubscriptionRecord]) -> int | None:
    """Return the QoS with which an MQTT client must get an event [MQTT-3.8.4-6, MQTT-3.3.5-1].

    None: unknown, because subscriptions that match began or ended around that time.
    """
    matching = [
        subscription for subscription in subscriptions if subscription.pattern.matches(sent.topic)
    ]
    grants = {subscription.pattern: subscription.granted_qos for subscription in matching}
    if len(grants) < len(matching) or any(
        subscription.ended is not None or not _was_active(subscription, sent)
        for subscription in matching
    ):
        return None
    return min(sent.qos, max(grants.values(), default=0))


def _check_stream(
    world: World,
    subscriber: RecordingClient,
    stream: list[EventRecord],
    subscriptions: list[SubscriptionRecord],
    publisher: RecordingClient,
    published: dict[int, PublicationRecord],
    *,
    smooth: bool,
) -> None:
    numbers = [event.number for event in stream]
    about = (f'["{publisher.name}",', *FAULTS)
    who = f"{subscriber.name} ({[subscription.pattern.text for subscription in subscriptions]})"
    again = [number for number, times in Counter(numbers).items() if times > 1]
    if _may_repeat(world):
        again = [number for number in again if published[number].retain]
    if again:
        twice = again[0]
        raise AssertionError(world.report(f"{who} got {publisher.name}'s {twice} twice", about))
    _check_stream_order(world, subscriber, stream, subscriptions, published, smooth=smooth)
    came = set(numbers)
    missing = [
        sent.number
        for sent in published.values()
        if sent.number not in came
        and _must_arrive(sent, publisher, subscriber, subscriptions, smooth=smooth)
    ]
    if missing:
        what = f"{who} did not get {publisher.name}'s {missing[:20]}"
        raise AssertionError(world.report(what, about))


def _may_repeat(world: World) -> bool:
    """Whether events without `retain` may come twice: a shard has been killed.

    Acknowledged publishes are sent again to a shard that has restarted. Changes of keys come once
    all the same, because the shard and the gateways recognize them.
    """
    return any(name.startswith("shard") for name in world.killed)


def _check_stream_order(
    world: World,
    subscriber: RecordingClient,
    stream: list[EventRecord],
    subscriptions: list[SubscriptionRecord],
    published: dict[int, PublicationRecord],
    *,
    smooth: bool,
) -> None:
    """Check that events arrived in the order of publishing.

    In a smooth world, this holds for all events of a WAMP subscription. Otherwise, and for MQTT,
    only events that were published while a matching subscription was active are checked.
    """
    numbers = [
        event.number
        for event in stream
        if (smooth and event.subscription is not None)
        or any(
            _was_active(subscription, published[event.number])
            and subscription.pattern.matches(event.topic)
            and (subscription.ended is None or event.at < subscription.ended)
            for subscription in subscriptions
        )
    ]
    for one, other in pairwise(dict.fromkeys(numbers)):
        if one > other:
            publisher = published[one].publisher
            what = f"{subscriber.name} got {publisher}'s {other} behind {one}"
            raise AssertionError(world.report(what, (f'["{publisher}",', *FAULTS)))


def _must_arrive(
    sent: PublicationRecord,
    publisher: RecordingClient,
    subscriber: RecordingClient,
    subscriptions: list[SubscriptionRecord],
    *,
    smooth: bool,
) -> bool:
    if not subscriber.connected or sent.empty or sent.refused:
        return False
    if sent.exclude_me and publisher is subscriber:
        return False
    certain = publisher.connected or publisher.graceful
    if not sent.answers and not (
        certain and (smooth or (publisher.connected and sent.acknowledge))
    ):
        return False
    return any(
        subscription.confirmed is not None
        and subscription.confirmed < sent.at
        and subscription.ended is None
        and subscription.pattern.matches(sent.topic)
        for subscription in subscriptions
    )


def _check_session_order(
    world: World,
    subscriber: RecordingClient,
    got: list[EventRecord],
    published: dict[int, PublicationRecord],
    *,
    smooth: bool,
) -> None:
    """Check the order over all subscriptions of a session (WAMP #ordering-guarantees).

    Only events that were published after their subscription was confirmed are checked.
    """
    last = 0
    seen: set[tuple[int, int]] = set()
    for event in got:
        if event.subscription is None or not _was_active(
            event.subscription, published[event.number]
        ):
            continue
        if not smooth:
            if (id(event.subscription), event.number) in seen:
                continue
            seen.add((id(event.subscription), event.number))
        if event.number < last:
            what = f"{subscriber.name} got {event.publisher}'s {event.number} behind {last}"
            raise AssertionError(world.report(what, (f'["{event.publisher}",',)))
        last = event.number


def _was_active(subscription: SubscriptionRecord, sent: PublicationRecord) -> bool:
    return subscription.confirmed is not None and subscription.confirmed < sent.at


def check_answers(world: World, clients: Sequence[RecordingClient]) -> None:
    """Check that each request of a connected client has had exactly one answer."""
    for one in clients:
        if one.violations:
            raise AssertionError(world.report(one.violations[0], (f'"{one.name}"',)))
        counts = Counter(len(sent.answers) for sent in one.sent if sent.acknowledge)
        if any(count > 1 for count in counts):
            twice = next(sent for sent in one.sent if len(sent.answers) > 1)
            raise AssertionError(world.report(f"acknowledged twice: {twice}"))
        if one.connected and counts[0]:
            never = next(sent for sent in one.sent if sent.acknowledge and not sent.answers)
            raise AssertionError(world.report(f"never acknowledged: {never}", (one.name,)))
        if one.connected and one.waiting:
            what = f"{one.name} waits for the answers to {one.waiting}"
            raise AssertionError(world.report(what, (one.name,)))


def check_state(
    world: World, clients: Sequence[RecordingClient], writers: Iterable[RecordingClient]
) -> None:
    """Check that subscriptions with replay got the key, then every change, and nothing else.

    All publications of the writers are retained, and each topic has one writer. The subscriptions
    of one client do not overlap.
    """
    for writer in writers:
        for topic in sorted({sent.topic for sent in writer.sent}):
            history = [sent for sent in writer.sent if sent.topic == topic]
            for reader in clients:
                for subscription in reader.subscriptions:
                    if (
                        subscription.confirmed
                        and subscription.replay
                        and subscription.pattern.matches(topic)
                    ):
                        _check_suffix(world, reader, subscription, history)


def _check_suffix(
    world: World,
    reader: RecordingClient,
    subscription: SubscriptionRecord,
    history: list[PublicationRecord],
) -> None:
    topic = history[0].topic
    until = subscription.over or world.now
    seen = [
        event
        for event in reader.received
        if event.topic == topic
        and (
            event.subscription is subscription
            or (event.subscription is None and subscription.asked < event.at <= until)
        )
    ]
    values = [event.number if event.publisher else None for event in seen]
    truth = [None if sent.empty else sent.number for sent in history]
    open_ = subscription.ended is None and reader.connected
    start = _find(values, truth, at_end=open_)
    what = f"{reader.name} ({subscription.pattern.text}) saw {values} of {topic}; written: {truth}"
    about = (topic, f'"{reader.name}"')
    if start is None:
        raise AssertionError(world.report(f"{what}: no such run", about))
    if start and not (seen and seen[0].retained) and truth[start - 1] is not None:
        raise AssertionError(world.report(f"{what}: not the key", about))
    if any(event.retained for event in seen[1:]):
        raise AssertionError(world.report(f"{what}: a key behind live events", about))


def _find(values: list[int | None], truth: list[int | None], *, at_end: bool) -> int | None:
    """Return the index at which `truth` contains `values`, or None. at_end: only the last place."""
    size = len(values)
    starts = [len(truth) - size] if at_end else range(len(truth) - size + 1)
    return next((i for i in starts if i >= 0 and truth[i : i + size] == values), None)
