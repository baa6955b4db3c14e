"""WAMP's ordering guarantees over real processes: 2 gateways, 4 shards, one sender.

Events (and calls) of one session reach another in the order of sending, even if their topics belong
to different shards (WAMP #ordering-guarantees, for several topics at once).
"""

from contextlib import ExitStack, closing

import pytest
from raw_wamp import (
    CALL,
    EVENT,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    YIELD,
    at_gateway,
)
from threads import Thread

EVENTS, TOPICS = 100_000, 50
CALLS, PROCEDURES = 20_000, 20
CHUNK = 500
"""Messages in one write."""


def blast(client, frames):
    """Write the frames as fast as the broker takes them."""
    for start in range(0, len(frames), CHUNK):
        client.sock.sendall(b"".join(frames[start : start + CHUNK]))


def expect_in_order(client, topics):
    """Read all events, which must come in order.

    topics: {subscription: number of its topic; None: of many topics}.
    """
    expected = 0
    while expected < EVENTS:
        for message in client.receive_all():
            assert message[0] == EVENT, message
            _, subscription, _, _, args = message
            assert args == [expected], f"expected {expected}, got {message}"
            assert topics.get(subscription) in (None, expected % TOPICS), message
            expected += 1


def subscribed(cluster, gateway, serializer, uris, match="exact"):
    """Return a client that subscribes to these, and {subscription: number of its topic or None}."""
    client = at_gateway(cluster, gateway, serializer)
    topics = {}
    for number, uri in enumerate(uris):
        reply = client.do(SUBSCRIBE, {"match": match}, uri, answer=SUBSCRIBED)
        topics[reply[2]] = number if len(uris) > 1 else None
    return client, topics


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.cites("basic.ordering.1")
def test_no_event_is_out_of_order_or_missing(cluster, serializer):
    uris = [f"order.{number}.x" for number in range(TOPICS)]
    with ExitStack() as stack:
        receivers = [
            subscribed(cluster, 1, serializer, uris),
            subscribed(cluster, 1, serializer, ["order..x"], "wildcard"),
            subscribed(cluster, 0, serializer, ["order"], "prefix"),
        ]
        threads = [Thread(expect_in_order, *receiver) for receiver in receivers]
        publisher = stack.enter_context(closing(at_gateway(cluster, 0, serializer)))
        for client, _ in receivers:
            stack.callback(client.close)
        frames = [
            publisher.frame(PUBLISH, number + 1, {}, uris[number % TOPICS], [number])
            for number in range(EVENTS)
        ]
        blast(publisher, frames)
        for thread in threads:
            thread.done()


def test_no_event_overtakes_an_acknowledged_one(cluster):
    """Every tenth event is acknowledged, and so a reliable frame; the others are plain frames."""
    count = 20_000
    uris = [f"mixed.{number}.x" for number in range(TOPICS)]
    with ExitStack() as stack:
        client, _ = subscribed(cluster, 1, "msgpack", ["mixed"], "prefix")
        publisher = at_gateway(cluster, 0)
        stack.callback(client.close)
        stack.callback(publisher.close)

        def read():
            got = []
            while len(got) < count:
                got += [message[4][0] for message in client.receive_all()]
            assert got == list(range(count))

        def read_acknowledgements():
            wanted = set(range(1, count + 1, 10))
            while wanted:
                for message in publisher.receive_all():
                    assert message[0] == PUBLISHED
                    wanted.remove(message[1])

        threads = [Thread(read), Thread(read_acknowledgements)]
        frames = [
            publisher.frame(
                PUBLISH,
                number + 1,
                {"acknowledge": True} if number % 10 == 0 else {},
                uris[number % TOPICS],
                [number],
            )
            for number in range(count)
        ]
        blast(publisher, frames)
        for thread in threads:
            thread.done()


@pytest.mark.parametrize("patterns", [False, True], ids=["exact", "patterns"])
@pytest.mark.cites("basic.ordering.1")
def test_no_call_is_out_of_order_or_missing(cluster, patterns):
    """One callee has all procedures. patterns: half are registered by pattern, and so forwarded."""
    kind = "mixed" if patterns else "exact"
    uris = [f"ordercalls.{kind}{number}.go" for number in range(PROCEDURES)]
    callee, caller = at_gateway(cluster, 1), at_gateway(cluster, 0)
    with closing(callee), closing(caller):
        for number, uri in enumerate(uris):
            by_pattern = patterns and number % 2
            options = {"match": "prefix"} if by_pattern else {}
            callee.do(
                REGISTER, options, uri.removesuffix(".go") if by_pattern else uri, answer=REGISTERED
            )

        def answer():
            expected = 0
            while expected < CALLS:
                replies = []
                for message in callee.receive_all():
                    assert message[0] == INVOCATION
                    assert message[4] == [expected], f"expected {expected}, got {message}"
                    replies.append(callee.frame(YIELD, message[1], {}, [expected * 2]))
                    expected += 1
                callee.sock.sendall(b"".join(replies))

        def read():
            wanted = {number + 1: number * 2 for number in range(CALLS)}
            while wanted:
                for message in caller.receive_all():
                    assert message[0] == RESULT, message
                    assert message[3] == [wanted.pop(message[1])]

        threads = [Thread(answer), Thread(read)]
        frames = [
            caller.frame(CALL, number + 1, {}, uris[number % PROCEDURES], [number])
            for number in range(CALLS)
        ]
        blast(caller, frames)
        for thread in threads:
            thread.done()
