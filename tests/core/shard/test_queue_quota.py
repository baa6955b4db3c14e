"""How many bytes of one realm may wait at a shard: calls, and publishes for their keys."""

from msgspec import msgpack
from shard_harness import (
    REALM,
    ShardHarness,
    call,
    leave,
    publish,
    register,
    yield_,
)

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    CONTINUATION,
    CONTINUES,
    EMPTY,
    RETAIN,
    CallError,
    Invocation,
    Published,
    Refused,
    Report,
    RetainOptions,
    SessionAlive,
)
from fox_shard.config import Realm, RealmLimits

KEEP = ACKNOWLEDGE | RETAIN
LARGE = b'["%b"]' % (1000 * b"x")
FULL, EXCEEDED = "fox.error.queue_full", "fox.error.limit_exceeded"


def made(limit=4000):
    """Return a shard whose realm has that limit, with a busy callee in it and in `other`."""
    realm = Realm(name=REALM, max_queue_bytes=limit)
    harness = ShardHarness(gateways=2, realms=[realm], realm_limits=RealmLimits(max_queue_bytes=1))
    harness["gateway-0"].replay = [SessionAlive(session) for session in range(1, 10)]
    harness.say("gateway-1", register(20, "=p", concurrency=1))
    harness.say("gateway-0", call(session=9, request=100, procedure="p"))
    return harness


def large(request, *, session=1, flags=0):
    asked = call(session=session, request=request, procedure="p", flags=flags)
    asked.args = LARGE
    return asked


def waits(request, *, session=1):
    retain = RetainOptions(watch=True, when=msgpack.encode(None))
    flags = KEEP | CONDITION
    return publish(request=request, session=session, flags=flags, args=LARGE, retain=retain)


def refused(harness):
    """Return {request: URI} of calls and publishes that were refused."""
    return {one.request: one.uri for one in harness.got("gateway-0", CallError | Refused)}


def waiting(harness):
    """Return how many bytes of the realm wait, as they are counted, and as they are."""
    quotas = harness.shard.queue_quotas.waiting(REALM)
    held = harness.shard.stored_publishes.conditional.waiting.size
    return quotas, held + harness.shard.dealer.invocations.kept.queued_bytes


def test_calls_and_publishes_of_a_realm_share_the_bytes_that_may_wait():
    harness = made()
    harness.say("gateway-0", publish(request=1, flags=KEEP), reliable=True)
    harness.say("gateway-0", large(2))
    harness.say("gateway-0", waits(3), reliable=True)
    assert refused(harness) == {}
    harness.say("gateway-0", large(4))
    harness.say("gateway-0", waits(5), reliable=True)
    assert refused(harness) == {4: FULL, 5: EXCEEDED}
    counted, there = waiting(harness)
    assert 3000 < counted == there < 4000
    assert harness.shard.health()["refused"] == {"max_queue_bytes": 2}
    # What is let through, or invoked, leaves room.
    erase = publish(request=6, flags=KEEP | EMPTY, args=b"")
    harness.say("gateway-0", erase, reliable=True)
    (running,) = harness.got("gateway-1", Invocation)
    harness.say("gateway-1", yield_(running))
    assert waiting(harness) == (0, 0)
    harness.say("gateway-0", large(7), large(8), large(9))
    assert refused(harness) == {9: FULL}


def test_other_realms_have_their_own_room():
    harness = made(limit=0)
    harness.say("gateway-1", register(20, "=p", concurrency=1, realm="other"))
    other = [call(request=n, procedure="p", realm="other") for n in (2, 3)]
    harness.say("gateway-0", *other, *(large(n) for n in range(4, 7)))
    assert refused(harness) == {3: FULL}


def test_further_parts_of_a_call_count_as_well():
    harness = made()
    first, second, third = (
        large(2, flags=flags)
        for flags in (CONTINUES, CONTINUES | CONTINUATION, CONTINUES | CONTINUATION)
    )
    harness.say("gateway-0", first, second)
    assert refused(harness) == {}
    harness.say("gateway-0", third)
    assert refused(harness) == {2: FULL}
    assert waiting(harness) == (0, 0)


def test_what_ends_with_its_session_or_procedure_leaves_room():
    harness = made()
    harness.say("gateway-0", publish(request=1, flags=KEEP, session=9), reliable=True)
    harness.say("gateway-0", large(2), large(3, session=2))
    harness.say("gateway-0", leave(1))
    harness.say("gateway-0", waits(4, session=3), reliable=True)
    harness.say("gateway-0", leave(3))
    assert refused(harness) == {}
    harness.say("gateway-1", leave(20))
    assert waiting(harness) == (0, 0)


def test_waiting_publishes_count_after_a_restart():
    harness = made()
    harness.say("gateway-0", publish(request=1, flags=KEEP), waits(2), waits(3), reliable=True)
    before = waiting(harness)[0]
    harness.restart()
    harness.turns()
    assert waiting(harness) == (before, before)
    harness.say("gateway-0", waits(4), reliable=True)
    assert refused(harness) == {4: EXCEEDED}
    assert [one.requests for one in harness.got("gateway-0", Published)] == [[1]]


def test_calls_and_publishes_refused_by_the_same_limit_are_added_up_in_reports():
    harness = made(limit=1)
    harness.say("gateway-0", publish(request=1, flags=KEEP), waits(2), reliable=True)
    harness.say("gateway-0", large(3))
    harness.join("coordinator")
    harness.turns()
    harness.shard.send_report(harness.now)
    harness.turns()
    (report,) = harness.got("coordinator", Report)
    assert report.counters["refused.max_queue_bytes"] == 2
