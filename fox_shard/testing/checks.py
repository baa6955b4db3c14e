"""What must be true of the ledgers of a run, and of the processes when it is quiet.

Owns: the promises, as assertions. Never: clients' behaviour.

A world is *smooth* if nothing was killed, cut or lost in it. In one that was not, what nobody had
been told is safe may be missing, and if a shard was killed, what was safe may come twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.records import Got, Sent, Window
from fox_shard.testing.world import World

FAULTS = (" starts", "is killed", "are severed", "are lost")
"""Notes of what broke."""


def check_events(
    world: World, clients: Sequence[RecordingClient], *, smooth: bool = True, since: float = 0.0
) -> None:
    """Every event that is due arrived, once, in its publisher's order, and no other.

    since: looks only at what was published later.
    """
    for publisher in clients:
        published = {sent.number: sent for sent in publisher.everything if sent.at >= since}
        for subscriber in clients:
            got = [
                event
                for event in subscriber.got
                if event.publisher == publisher.name and not event.retained
            ]
            if since:
                got = [event for event in got if event.number in published]
            _check_genuine(world, subscriber, got, published)
            for stream, windows in _streams(subscriber, got):
                _check_stream(
                    world, subscriber, stream, windows, publisher, published, smooth=smooth
                )
            _check_session_order(world, subscriber, got, published, smooth=smooth)


def _streams(
    subscriber: RecordingClient, got: list[Got]
) -> Iterable[tuple[list[Got], list[Window]]]:
    """A WAMP client gets an event for each subscription, an MQTT client gets it once."""
    if isinstance(subscriber, RecordingMqttClient):
        yield got, subscriber.windows
    else:
        for window in subscriber.windows:
            yield [event for event in got if event.window is window], [window]


def _check_genuine(
    world: World, subscriber: RecordingClient, got: list[Got], published: dict[int, Sent]
) -> None:
    for event in got:
        sent = published.get(event.number)
        if sent is None or sent.topic != event.topic:
            raise AssertionError(world.report(f"{subscriber.name} got {event}, sent was {sent}"))
        if sent.exclude_me and sent.publisher == subscriber.name:
            raise AssertionError(world.report(f"{subscriber.name} got its own {sent}"))
        quality = (
            _quality(sent, subscriber.windows) if isinstance(subscriber, RecordingMqttClient) else 0
        )
        if quality is not None and event.quality != quality:
            what = f"{subscriber.name} got {event} at {event.quality}, not {quality}: {sent}"
            raise AssertionError(world.report(what, (f'["{sent.publisher}",{sent.number}]',)))


def _quality(sent: Sent, windows: list[Window]) -> int | None:
    """Of an MQTT delivery [MQTT-3.8.4-6, -3.3.5-1]; None where subscriptions came and went."""
    matching = [window for window in windows if window.pattern.matches(sent.topic)]
    grants = {window.pattern: window.grant for window in matching}
    if len(grants) < len(matching) or any(
        window.ended is not None or not _stood(window, sent) for window in matching
    ):
        return None
    return min(sent.quality, max(grants.values(), default=0))


def _check_stream(
    world: World,
    subscriber: RecordingClient,
    stream: list[Got],
    windows: list[Window],
    publisher: RecordingClient,
    published: dict[int, Sent],
    *,
    smooth: bool,
) -> None:
    numbers = [event.number for event in stream]
    about = (f'["{publisher.name}",', *FAULTS)
    who = f"{subscriber.name} ({[window.pattern.text for window in windows]})"
    again = [number for number, times in Counter(numbers).items() if times > 1]
    if _may_repeat(world):
        again = [number for number in again if published[number].retain]
    if again:
        twice = again[0]
        raise AssertionError(world.report(f"{who} got {publisher.name}'s {twice} twice", about))
    _check_stream_order(world, subscriber, stream, windows, published, smooth=smooth)
    came = set(numbers)
    missing = [
        sent.number
        for sent in published.values()
        if sent.number not in came and _is_due(sent, publisher, subscriber, windows, smooth=smooth)
    ]
    if missing:
        what = f"{who} did not get {publisher.name}'s {missing[:20]}"
        raise AssertionError(world.report(what, about))


def _may_repeat(world: World) -> bool:
    """What was published safely is sent again to a shard that has been killed.

    It then knows what it has stored, and so does who got it: a key's change comes once.
    """
    return any(name.startswith("shard") for name in world.killed)


def _check_stream_order(
    world: World,
    subscriber: RecordingClient,
    stream: list[Got],
    windows: list[Window],
    published: dict[int, Sent],
    *,
    smooth: bool,
) -> None:
    """The order of publishing, as far as it was published after the subscription stood.

    An MQTT client has several; in a smooth world what a WAMP client gets for one is in order.
    """
    numbers = [
        event.number
        for event in stream
        if (smooth and event.window is not None)
        or any(
            _stood(window, published[event.number])
            and window.pattern.matches(event.topic)
            and (window.ended is None or event.at < window.ended)
            for window in windows
        )
    ]
    for one, other in pairwise(dict.fromkeys(numbers)):
        if one > other:
            publisher = published[one].publisher
            what = f"{subscriber.name} got {publisher}'s {other} behind {one}"
            raise AssertionError(world.report(what, (f'["{publisher}",', *FAULTS)))


def _is_due(
    sent: Sent,
    publisher: RecordingClient,
    subscriber: RecordingClient,
    windows: list[Window],
    *,
    smooth: bool,
) -> bool:
    if not subscriber.here or sent.empty or sent.refused:
        return False
    if sent.exclude_me and publisher is subscriber:
        return False
    certain = publisher.here or publisher.graceful
    if not sent.answers and not (certain and (smooth or (publisher.here and sent.safe))):
        return False
    return any(
        window.confirmed is not None
        and window.confirmed < sent.at
        and window.ended is None
        and window.pattern.matches(sent.topic)
        for window in windows
    )


def _check_session_order(
    world: World,
    subscriber: RecordingClient,
    got: list[Got],
    published: dict[int, Sent],
    *,
    smooth: bool,
) -> None:
    """Over all subscriptions of a session that stood when it was published (WAMP #ordering)."""
    last = 0
    seen: set[tuple[int, int]] = set()
    for event in got:
        if event.window is None or not _stood(event.window, published[event.number]):
            continue
        if not smooth:
            if (id(event.window), event.number) in seen:
                continue
            seen.add((id(event.window), event.number))
        if event.number < last:
            what = f"{subscriber.name} got {event.publisher}'s {event.number} behind {last}"
            raise AssertionError(world.report(what, (f'["{event.publisher}",',)))
        last = event.number


def _stood(window: Window, sent: Sent) -> bool:
    return window.confirmed is not None and window.confirmed < sent.at


def check_answers(world: World, clients: Sequence[RecordingClient]) -> None:
    """Each request of a client that is still there has had exactly one answer."""
    for one in clients:
        if one.complaints:
            raise AssertionError(world.report(one.complaints[0], (f'"{one.name}"',)))
        counts = Counter(len(sent.answers) for sent in one.sent if sent.safe)
        if any(count > 1 for count in counts):
            twice = next(sent for sent in one.sent if len(sent.answers) > 1)
            raise AssertionError(world.report(f"acknowledged twice: {twice}"))
        if one.here and counts[0]:
            never = next(sent for sent in one.sent if sent.safe and not sent.answers)
            raise AssertionError(world.report(f"never acknowledged: {never}", (one.name,)))
        if one.here and one.waiting:
            what = f"{one.name} waits for the answers to {one.waiting}"
            raise AssertionError(world.report(what, (one.name,)))


def check_state(
    world: World, clients: Sequence[RecordingClient], writers: Iterable[RecordingClient]
) -> None:
    """A subscription with replay saw the key there was, then every change, and nothing else.

    All publications of the writers are retained, and each topic has one writer. Subscribers have
    subscriptions that do not overlap.
    """
    for writer in writers:
        for topic in sorted({sent.topic for sent in writer.sent}):
            history = [sent for sent in writer.sent if sent.topic == topic]
            for reader in clients:
                for window in reader.windows:
                    if window.confirmed and window.replay and window.pattern.matches(topic):
                        _check_suffix(world, reader, window, history)


def _check_suffix(
    world: World, reader: RecordingClient, window: Window, history: list[Sent]
) -> None:
    topic = history[0].topic
    until = window.over or world.now
    seen = [
        event
        for event in reader.got
        if event.topic == topic
        and (event.window is window or (event.window is None and window.asked < event.at <= until))
    ]
    values = [event.number if event.publisher else None for event in seen]
    truth = [None if sent.empty else sent.number for sent in history]
    open_ = window.ended is None and reader.here
    start = _find(values, truth, at_end=open_)
    what = f"{reader.name} ({window.pattern.text}) saw {values} of {topic}; written: {truth}"
    about = (topic, f'"{reader.name}"')
    if start is None:
        raise AssertionError(world.report(f"{what}: no such run", about))
    if start and not (seen and seen[0].retained) and truth[start - 1] is not None:
        raise AssertionError(world.report(f"{what}: not the key", about))
    if any(event.retained for event in seen[1:]):
        raise AssertionError(world.report(f"{what}: a key behind live events", about))


def _find(values: list[int | None], truth: list[int | None], *, at_end: bool) -> int | None:
    """Where in `truth` the run begins that `values` is; None: nowhere."""
    size = len(values)
    starts = [len(truth) - size] if at_end else range(len(truth) - size + 1)
    return next((i for i in starts if i >= 0 and truth[i : i + size] == values), None)
