"""A shard with a reducer, whose instance the test plays."""

from msgspec import msgpack
from msgspec.structs import replace
from shard_harness import REALM, ShardHarness, publish, subscribe

from fox_shard.backplane.frames import ACKNOWLEDGE, Event, Reduce, Reduced, RegisterReducer
from fox_shard.documents.payloads import JSON
from fox_shard.topics.ids import pattern_id

PLAIN = 0


def reducer(
    session=1,
    pattern="*a.#",
    *,
    request=1,
    mission="",
    durable="",
    invoke="single",
    concurrency=100,
    force=False,
    replay=False,
    realm=REALM,
):
    id_ = pattern_id(realm, "reducer", f"{pattern}\0{mission}\0{durable}")
    return RegisterReducer(
        realm, session, request, pattern, id_, mission, durable, invoke, concurrency, force, replay
    )


def reducing_harness(*registrations, **more):
    harness = ShardHarness(gateways=2, unstored=["memory"], **more)
    harness["gateway-1"].replay = [subscribe("*#")]
    harness.say("gateway-1", subscribe("*#"))
    harness.say("gateway-0", *registrations)
    harness["gateway-0"].replay = [replace(one, replay=True) for one in registrations]
    harness.got("gateway-0")
    return harness


def emit(harness, *numbers, topic="a.b", flags=ACKNOWLEDGE, session=2, reliable=None):
    """Publish the numbers as gateway-1's session 2."""
    frames = [
        publish(topic, session=session, request=number, flags=flags, args=b"[%d]" % number)
        for number in numbers
    ]
    reliable = bool(flags & ACKNOWLEDGE) if reliable is None else reliable
    harness.say("gateway-1", *frames, reliable=reliable)


def asked(harness, name="gateway-0"):
    """Return the reductions that the gateway has been asked for since the last call."""
    return harness.got(name, Reduce)


def number_of(reduce):
    return int(reduce.event.publish.args[1:-1])


def answer(harness, reduce, args, name="gateway-0"):
    harness.say(name, Reduced(reduce.invocation, JSON, args))


def fold(harness, name="gateway-0"):
    """Let the reducer append each number to the list that the key is, until nothing is asked."""
    while reductions := asked(harness, name):
        for one in reductions:
            before = one.retained[1][1:-1] if one.retained else b"[]"
            after = before[:-1] + (b"," if before != b"[]" else b"") + b"%d]" % number_of(one)
            harness.send(name, Reduced(one.invocation, JSON, b"[%b]" % after))
        harness.turns()


def key(harness, topic="a.b", realm=REALM):
    found = harness.shard.retained_keys.realms[realm].keys.durable_value(topic)
    return None if found is None else found.publish.args


def failures(harness):
    """Return the arguments of the events at fox.reducer.failed."""
    events = harness.got("gateway-1", Event)
    return [
        msgpack.decode(event.publish.args)
        for event in events
        if event.publish.topic == "fox.reducer.failed"
    ]


def watch_failures(harness):
    harness.say("gateway-1", subscribe("=fox.reducer.failed"))
