"""Spans of traced publishes and calls: one in each process that they pass."""

import pytest
from msgspec import msgpack

from fox_shard.backplane import tracing
from fox_shard.backplane.frames import Call, CallError, Invocation, Result
from fox_shard.backplane.tracing import Tracer
from fox_shard.documents.payloads import JSON
from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class TracedWorld(World):
    """Two gateways and two shards, with a client at each gateway."""

    def __init__(self):
        super().__init__(3, gateways=2, shards=2, realms=("realm1",))
        self.tracers = {name: Tracer() for name in self.nodes}
        for name, tracer in self.tracers.items():
            self.nodes[name].trace(tracer)
        self.run_until(lambda: self.linked)
        self.first, self.second = WampClient(self, 0), WampClient(self, 1)
        self.run_until(lambda: self.first.of(2) and self.second.of(2))

    def shard_of(self, uri):
        return f"shard-{self.nodes['gateway-0'].realms['realm1'].shard_of(uri)}"

    def collected(self):
        """Return the spans of all processes since the last call, without their times."""
        self.run(5)
        found = {}
        for name, tracer in self.tracers.items():
            spans = tracer.take(self.now)
            assert all(one.realm == "realm1" and one.end >= one.start for one in spans)
            if spans:
                found[name] = [(one.kind, one.uri, one.parent, one.error) for one in spans]
        return found


@pytest.fixture
def world():
    return TracedWorld()


@pytest.mark.parametrize("acknowledge", [False, True])
@pytest.mark.parametrize("retain", [False, True])
def test_a_publish_has_a_span_where_it_comes_in_passes_and_goes_out(world, acknowledge, retain):
    world.second.subscribe("a.b")
    world.run(1)
    options = {"acknowledge": acknowledge, "retain": retain}
    world.first.publish("a.b", 1, _traceparent=PARENT, **options)
    world.first.publish("a.b", 2, **options)
    assert world.collected() == {
        "gateway-0": [("publish", "a.b", PARENT, "")],
        world.shard_of("a.b"): [("publish", "a.b", PARENT, "")],
        "gateway-1": [("event", "a.b", PARENT, "")],
    }
    assert world.second.events == [1, 2]


def test_a_refused_publish_has_an_error(world):
    world.first.publish("a.b", 1, _traceparent=PARENT, acknowledge=True, retain=True, when_id=5)
    spans = [("publish", "a.b", PARENT, "fox.error.condition_failed")]
    assert world.collected() == {"gateway-0": spans, world.shard_of("a.b"): spans}


@pytest.mark.parametrize("error", ["", "com.example.no"])
def test_a_call_has_a_span_in_each_process_until_its_answer(world, error):
    world.second.register("a.b")
    world.run(1)
    world.first.call("a.b", 1, _traceparent=PARENT)
    world.first.call("a.b", 2)
    world.run(1)
    for _, request, *_ in world.second.of(68):
        answer = [8, 68, request, {}, error] if error else [70, request, {}, []]
        world.second.send(answer)
    call, invocation = ("call", "a.b", PARENT, error), ("invocation", "a.b", PARENT, error)
    assert world.collected() == {
        "gateway-0": [call],
        world.shard_of("a.b"): [invocation, call],
        "gateway-1": [invocation],
    }


def test_a_call_of_a_pattern_has_a_span_in_the_shard_that_passes_it_on(world):
    # The procedure belongs to another shard than the pattern.
    home = world.shard_of("^a")
    procedure = next(
        name for name in (f"a.n{number}" for number in range(99)) if world.shard_of(name) != home
    )
    world.second.register("a", match="prefix")
    world.run(1)
    world.first.call(procedure, _traceparent=PARENT)
    world.run(1)
    (invocation,) = world.second.of(68)
    world.second.send([70, invocation[1], {}, []])
    spans = world.collected()
    assert {name: {kind for kind, *_ in found} for name, found in spans.items()} == {
        "gateway-0": {"call"},
        world.shard_of(procedure): {"call"},
        home: {"call", "invocation"},
        "gateway-1": {"invocation"},
    }


@pytest.mark.parametrize(
    "value", ["", "00-x", PARENT.upper(), PARENT + "-00", PARENT[:-1], 5, None, [PARENT]]
)
def test_what_is_no_traceparent_is_not_traced(value, world):
    world.first.publish("a.b", 1, _traceparent=value, acknowledge=True)
    world.first.publish("a.b", 1, _other_attribute=PARENT, acknowledge=True)
    assert world.collected() == {}


def call(request):
    attributes = msgpack.encode({tracing.ATTRIBUTE: PARENT})
    return Call("r", "p.q", 7, request, 1, 0, 0, JSON, b"", attributes=attributes)


def test_so_many_spans_are_open_and_of_more_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(tracing, "MOST_OPEN", 3)
    tracer = Tracer()
    tracer.leaving("shard-0", [call(request) for request in range(5)], 1.0)
    tracer.arrived("shard-0", [Result(7, request, False, JSON, b"") for request in range(5)], 2.0)
    assert [(one.start, one.end) for one in tracer.take(3.0)] == [(1.0, 2.0)] * 3
    assert tracer.take(4.0) == []


def test_a_frame_that_is_sent_again_begins_no_other_span():
    tracer = Tracer()
    tracer.leaving("shard-0", [call(1)], 1.0)
    tracer.leaving("shard-0", [call(1)], 2.0)
    tracer.arrived("shard-0", [Result(7, 1, True, JSON, b"")], 3.0)
    tracer.arrived("shard-0", [CallError(7, 1, "a.b", JSON, b"")], 4.0)
    assert [(one.start, one.end, one.error) for one in tracer.take(5.0)] == [(1.0, 4.0, "a.b")]


def test_invocations_of_different_shards_may_have_one_number():
    tracer = Tracer()
    for now, shard in enumerate(("shard-0", "shard-1")):
        tracer.arrived(shard, [Invocation(5, 7, 1, call(now))], now)
    assert len(tracer._open) == 2
