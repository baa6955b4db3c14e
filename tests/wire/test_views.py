"""State streams, filters and snapshots, as clients see them, at the pace of their reading."""

import asyncio
from contextlib import ExitStack, closing

import node
import pytest
from autobahn.wamp import message
from autobahn.wamp.types import PublishOptions, SubscribeOptions
from cluster import Cluster
from raw_wamp import (
    EVENT,
    PUBLISH,
    PUBLISHED,
    SUBSCRIBE,
    SUBSCRIBED,
    UNSUBSCRIBED,
    at_gateway,
)


class View:
    """The only subscription of a client; `news` is the list of its events, in order."""

    def __init__(self, client, prefix, **options):
        self.client = client
        self.prefix = prefix
        self.news = []
        client.request += 1
        client.send(SUBSCRIBE, client.request, {"match": "prefix", **options}, prefix)

    def subscribed(self):
        """Read SUBSCRIBED, which must come before everything else."""
        assert self.client.receive()[:2] == [SUBSCRIBED, self.client.request]
        return self

    def take(self):
        """Return the next event: (topic after the prefix, argument, details but for the topic).

        None if the snapshot is over.
        """
        reply = self.client.receive()
        if reply[0] == UNSUBSCRIBED:
            assert (reply[1], reply[2]["reason"]) == (0, "fox.close.snapshot")
            return None
        assert reply[0] == EVENT, reply
        details = dict(reply[3])
        topic = details.pop("topic").removeprefix(self.prefix)
        arguments = reply[4] if len(reply) > 4 else []
        self.news.append((topic, arguments[0] if arguments else None, details))
        return self.news[-1]

    def until(self, *last):
        """Take events until there has been one on each of these topics."""
        missing = {*last}
        while missing:
            missing.discard(self.take()[0])
        return self

    def to_the_end(self):
        """Take all events of a snapshot."""
        while self.take():
            pass
        return self

    @property
    def believed(self):
        """The keys that exist according to the events so far: {topic: argument}."""
        keys = {}
        for topic, argument, details in self.news:
            if details.get("removed"):
                del keys[topic]
            else:
                keys[topic] = argument
        return keys


def write(client, topic, *args, **options):
    """Publish a key, and wait until it is acknowledged."""
    options = {"acknowledge": True, "retain": True, **options}
    client.do(PUBLISH, options, topic, list(args), answer=PUBLISHED)


SHOWN = {"retained": True}
GONE = {"removed": "deleted"}


def test_a_state_stream_follows_the_keys_of_both_gateways_and_protocols(cluster, mqtt):
    prefix = "views.live."
    device = mqtt.connect("views-live", gateway=0)
    with closing(at_gateway(cluster, 0, "json")) as writer, closing(at_gateway(cluster, 1)) as one:
        write(writer, f"{prefix}wamp", {"n": 1})
        device.publish("views/live/mqtt", b"21.5", qos=1, retain=True)
        view = View(one, prefix, retained=True).subscribed().until("wamp", "mqtt")
        assert sorted(view.news) == [("mqtt", 21.5, SHOWN), ("wamp", {"n": 1}, SHOWN)]
        view.news.clear()

        device.publish("views/live/mqtt", b"not kept", qos=1)
        device.publish("views/live/mqtt", b"22", qos=1, retain=True)
        device.publish("views/live/mqtt", b"", qos=1, retain=True)
        assert (view.take(), view.take()) == (("mqtt", 22, {}), ("mqtt", None, GONE))
        write(writer, f"{prefix}wamp", {"n": 2}, retain=False)
        write(writer, f"{prefix}wamp", {"n": 3})
        write(writer, f"{prefix}wamp")
        assert (view.take(), view.take()) == (("wamp", {"n": 3}, {}), ("wamp", None, GONE))
        write(writer, f"{prefix}short", 1, retain=0.05)
        assert (view.take(), view.take()) == (
            ("short", 1, {}),
            ("short", None, {"removed": "expired"}),
        )
        with closing(at_gateway(cluster, 0)) as guest:
            write(guest, f"{prefix}guest", "here", weak=True)
            assert view.take() == ("guest", "here", {})
        assert view.take() == ("guest", None, {"removed": "weak"})
        assert view.believed == {}


def test_a_state_stream_is_complete_after_a_shard_was_killed(own_cluster):
    cluster = own_cluster()
    prefix = "views.killed."
    with closing(at_gateway(cluster, 0)) as writer, closing(at_gateway(cluster, 1)) as one:
        for number in range(20):
            write(writer, f"{prefix}{number}", number)
        view = View(one, prefix, retained=True).subscribed()
        view.until(*map(str, range(20)))
        cluster.restart("shard-0")
        for number in range(20):
            write(writer, f"{prefix}{number}", *([-number] if number % 3 else []))
        cluster.await_ready()
        write(writer, f"{prefix}end", True)
        while len(view.news) < 41:
            view.take()
        assert view.believed == {"end": True, **{str(n): -n for n in range(20) if n % 3}}
        # Each key was shown once, and has changed once.
        assert sorted(topic for topic, _, _ in view.news) == sorted(
            ["end", *[str(number) for number in range(20)] * 2]
        )


def test_a_subscriber_with_a_filter_gets_only_what_meets_the_filter(cluster):
    topic = "views.filtered.one"
    with ExitStack() as stack:
        writer = stack.enter_context(closing(at_gateway(cluster, 0)))
        views = [
            View(
                stack.enter_context(closing(at_gateway(cluster, 1))), topic, **options
            ).subscribed()
            for options in (
                {"filter": {"n": {"$gt": 2, "$lt": 6}}},
                {"filter": {"n": {"$in": [1, 9]}, "of": {"kind": "x"}}},
                {"retained": True, "filter": {"n": {"$gte": 5}}},
                {"retained": True, "filter": {"late": {"$exists": True}}},
            )
        ]
        for number in (1, 2, 3, 4, 5, 6, 7, 2, 9):
            more = {"late": True} if number == 9 else {}
            write(writer, topic, {"n": number, "of": {"kind": "x", "id": number}, **more})
        write(writer, topic, {"n": 4, "of": None})
        write(writer, topic)
        for view, count in zip(views, (4, 2, 6, 2), strict=True):
            while len(view.news) < count:
                view.take()
        got = [
            [
                argument["n"] if argument else details["removed"]
                for _, argument, details in view.news
            ]
            for view in views
        ]
        assert got == [
            [3, 4, 5, 4],
            [1, 9],
            [5, 6, 7, "filter", 9, "filter"],
            [9, "filter"],
        ]


def test_equal_options_have_the_same_subscription_id_at_every_gateway(cluster):
    wishes = [
        {"filter": {"a": 1, "b": 2}},
        {"filter": {"b": 2, "a": 1}, "get_retained": True},
        {"filter": {"a": 1, "b": 3}},
        {"filter": {"a": 1, "b": 2}, "retained": True},
    ]
    ids = []
    for gateway in (0, 1):
        with closing(at_gateway(cluster, gateway)) as client:
            ids.append([client.do(SUBSCRIBE, one, "a.b", answer=SUBSCRIBED)[2] for one in wishes])
    assert ids[0] == ids[1]
    assert ids[0][0] == ids[0][1]
    assert len(set(ids[0])) == 3


# Many keys, and clients that do not read

KEYS, PAYLOAD = 20_000, "x" * 2_000
LIMIT = 2 << 20
"""`gateway.outbound_limit`, a twentieth of the replayed bytes."""


@pytest.fixture(scope="module")
def full():
    """A broker with many keys `many.…`, each a number and a payload; no key is added or erased."""
    with Cluster(FOX_GATEWAY_OUTBOUND_LIMIT=str(LIMIT)) as cluster:
        with closing(at_gateway(cluster, 0)) as writer:
            publish_all(writer, range(KEYS), retain=True)
        yield cluster


def publish_all(client, numbers, **options):
    """Publish, a thousand at a time, and wait until all are acknowledged."""
    numbers = [*numbers]
    options["acknowledge"] = True
    for start in range(0, len(numbers), 1000):
        part = numbers[start : start + 1000]
        frames = (client.frame(PUBLISH, n + 1, options, f"many.{n}", [n, PAYLOAD]) for n in part)
        client.sock.sendall(b"".join(frames))
        for _ in part:
            assert client.receive()[0] == PUBLISHED


def test_a_replay_is_as_fast_as_its_client_reads(full):
    """A client that does not read is not disconnected, and holds up no other client."""
    with ExitStack() as stack:

        def at(gateway, **options):
            return stack.enter_context(closing(at_gateway(full, gateway, **options)))

        slow = [
            View(at(0, receive_buffer=4096), "many.", **options)
            for options in ({"snapshot": True}, {"retained": True})
        ]
        quick = View(at(0), "many.", snapshot=True).subscribed().to_the_end()
        assert sorted(topic for topic, _, _ in quick.news) == sorted(map(str, range(KEYS)))
        # Many keys change before the slow clients read on: each sees a key before or after that.
        changed = range(0, KEYS, 200)
        live = View(at(1), "many.1", retained=True, filter={"x": 1}).subscribed()
        publish_all(at(1), changed, retain=False)
        writer = at(1)
        for number in changed:
            write(writer, f"many.{number}", -number, {"x": 1})
        assert not live.news

        for view in slow:
            view.subscribed()
        snapshot, state = slow
        assert len(snapshot.to_the_end().news) == KEYS
        for topic, number, details in snapshot.news:
            assert abs(number) == int(topic)
            assert details == SHOWN
        while len(state.news) < KEYS + len(changed):
            state.take()
        assert len(state.believed) == KEYS
        for number in changed:
            told = [one[1:] for one in state.news if one[0] == str(number)]
            assert told == [(number, SHOWN), (-number, {})]


def test_a_snapshot_that_is_given_up_in_the_middle_ends(full):
    with closing(at_gateway(full, 0, receive_buffer=4096)) as client:
        View(client, "many.", snapshot=True).subscribed()
        reply = client.receive()
        assert reply[0] == EVENT
        client.request += 1
        client.send(34, client.request, reply[1])
        count = 1
        while (reply := client.receive())[0] == EVENT:
            count += 1
        assert reply == [UNSUBSCRIBED, client.request]
        assert count < KEYS
        # The session goes on, and another snapshot begins from the beginning.
        assert len(View(client, "many.1", snapshot=True).subscribed().to_the_end().news) > 10_000


# Client libraries


async def test_autobahn_python_sends_the_options_it_is_given(cluster, wamp, monkeypatch):
    """autobahn-python cannot name options that it does not know, so its message gets them here."""
    asked = {"retained": True, "filter": {"n": {"$gt": 5}}}
    own = message.Subscribe.marshal_options
    monkeypatch.setattr(message.Subscribe, "marshal_options", lambda self: {**own(self), **asked})
    ours, theirs = await wamp.two()
    write = PublishOptions(acknowledge=True, retain=True)
    await theirs.publish("views.python.a", {"n": 6}, options=write)
    await theirs.publish("views.python.b", {"n": 5}, options=write)
    queue = await ours.events("views.python.", SubscribeOptions(match="prefix"))
    for numbers in ({"n": 7}, {"n": 1}, {"n": 8}):
        await theirs.publish("views.python.a", numbers, options=write)
    await theirs.publish("views.python.a", options=write)
    seen = [await queue.get() for _ in range(5)]
    assert [(args, details.topic, bool(details.retained)) for args, _, details in seen] == [
        (({"n": 6},), "views.python.a", True),
        (({"n": 7},), "views.python.a", False),
        ((), "views.python.a", False),
        (({"n": 8},), "views.python.a", False),
        ((), "views.python.a", False),
    ]
    await queue.subscription.unsubscribe()


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
async def test_autobahn_js_sees_state_streams_filters_and_snapshots(cluster, serializer):
    port = cluster.ports["websocket"]
    seen = await asyncio.to_thread(
        node.run, "views.cjs", serializer, port, f"views.js.{serializer}"
    )
    assert seen == {
        "state": [
            [["a", {"n": 1}, True], ["b", {"n": 9}, True]],
            ["a", {"n": 7}, False],
            ["a", {"n": 2}, False],
            ["a", None, False],
        ],
        "big": [["b", {"n": 9}, True], ["a", {"n": 7}, False], ["a", None, False]],
        "snapshot": [["b", {"n": 9}, True]],
        "reason": "fox.close.snapshot",
        "active": [True, True, False],
    }
