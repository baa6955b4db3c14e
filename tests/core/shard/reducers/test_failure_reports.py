"""What a shard tells of its reducers, and the removal of durable ones."""

from msgspec import msgpack
from reducing import asked, emit, fold, key, reducer, reducing_harness
from shard_harness import REALM, ShardHarness, leave

from fox_shard.backplane.frames import Inquiry, InquiryPage, NotReduced, ReducerState
from fox_shard.config import Realm, Reducer
from fox_shard.documents.payloads import JSON

decode = msgpack.Decoder(ReducerState).decode


def inquire(harness, kind="reducers", body=b"", *, start=b"", limit=100, realm=REALM):
    harness.say("gateway-1", Inquiry(1, realm, kind, body, start, limit))
    (page,) = harness.got("gateway-1", InquiryPage)
    return page


def states(harness, **more):
    return [decode(value) for _, value in inquire(harness, **more).items]


def remove(harness, frame):
    return inquire(harness, "remove reducer", frame.registration.to_bytes(8, "big"))


def test_a_reducer_is_listed_with_what_waits():
    harness = reducing_harness(reducer(durable="d", mission="m"))
    emit(harness, 1, 2, 3)
    harness.pass_time(5)
    (one,) = asked(harness)
    harness.say("gateway-0", NotReduced(one.invocation, "x", JSON, b""))
    (two,) = asked(harness)
    (state,) = states(harness)
    assert (state.pattern, state.match, state.mission, state.durable) == ("a.#", "exact", "m", "d")
    assert (state.instances, state.queued, state.folded, state.failed) == (1, 2, 0, 1)
    assert state.size > 1000
    assert 4.5 < state.oldest < 5.5
    assert two


def test_built_in_reducers_are_listed():
    built_in = Reducer(pattern="a.#", function="sum", destination="t")
    harness = ShardHarness(realms=[Realm(name=REALM, reducer=(built_in,))])
    emit(harness, 1, 2)
    (state,) = states(harness)
    assert (state.function, state.mission, state.folded, state.queued) == ("sum", "t", 2, 0)


def test_the_list_comes_in_pages_and_has_one_realm():
    harness = reducing_harness(
        *(reducer(pattern=f"=a.{number}", request=number) for number in range(5)),
        reducer(realm="memory"),
    )
    found, start = [], b""
    while True:
        page = inquire(harness, limit=2, start=start)
        found += [decode(value).pattern for _, value in page.items]
        start = page.next
        if not start:
            break
    assert sorted(found) == [f"a.{number}" for number in range(5)]


def test_a_durable_reducer_is_removed_with_its_queue():
    frame = reducer(durable="d")
    harness = reducing_harness(frame)
    harness["gateway-0"].replay = []
    emit(harness, 1, 2)
    assert remove(harness, frame).uri == "wamp.error.invalid_argument"
    harness.say("gateway-0", leave(1))
    assert len(remove(harness, frame).items) == 1
    harness.pass_time(1)
    assert not list(harness.shard.reducers.catalog)
    assert remove(harness, frame).items == []
    harness.restart()
    harness.turns(8)
    assert not list(harness.shard.reducers.catalog)
    assert not [row for row in harness.disk.rows if row[:1] in b"ef"]


def test_a_removed_reducer_is_durable_again_when_an_instance_comes():
    frame = reducer(durable="d")
    harness = reducing_harness(frame)
    harness["gateway-0"].replay = []
    harness.say("gateway-0", leave(1))
    remove(harness, frame)
    harness.say("gateway-0", reducer(5, durable="d"))
    harness.say("gateway-0", leave(5))
    emit(harness, 1)
    harness.restart()
    harness.turns(8)
    harness.say("gateway-0", reducer(6, durable="d"))
    fold(harness)
    assert key(harness) == b"[[1]]"
