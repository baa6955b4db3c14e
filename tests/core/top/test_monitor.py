"""fox top: from the answers of processes to rates, shares and restarts."""

import pytest

from fox_shard.top.monitor import Monitor, in_order


def answer(realms=None, *, pid=1, age=0.0, processor=0.0, **more):
    own = {name: more.pop(name, {}) for name in ("counters", "gauges")}
    metrics = {**own, "realms": realms or {}, "histograms": {}, "age": age}
    return {"status": "ok", "pid": pid, "processor": processor, "metrics": metrics, **more}


@pytest.fixture
def monitor():
    return Monitor(cores=2)


def take(monitor, now, **answers):
    named = {name.replace("_", "-"): one for name, one in answers.items()}
    return monitor.take(named, now, 0.0)


def test_rates_are_those_between_two_reports_and_stay_until_the_next(monitor):
    first = take(monitor, 10.0, gateway_0=answer({"realm1": {"publishes": 100}}))
    assert first.rates.publishes == 0
    take(monitor, 12.0, gateway_0=answer({"realm1": {"publishes": 300, "deliveries": 50}}))
    same = take(monitor, 13.0, gateway_0=answer({"realm1": {"publishes": 300}}, age=1.0))
    assert (same.rates.publishes, same.rates.events) == (100.0, 25.0)
    older = answer({"realm1": {"publishes": 310}}, age=1.0)
    assert take(monitor, 15.0, gateway_0=older).rates.publishes == 5.0


def test_rates_of_a_realm_are_sums_over_gateways_and_protocols(monitor):
    def gateways(factor):
        bytes_in = {"wamp.bytes_in": 10 * factor, "mqtt.bytes_in": 5 * factor}
        # What is not shown counts for no realm, whatever a realm is called.
        realms = {
            "com.example": {"calls": 2 * factor, **bytes_in, "wamp.sessions": factor},
            "other": {"calls": factor},
        }
        own = {"calls": 7 * factor, "refused.calls": 99 * factor}
        return {
            "gateway_0": answer(realms, pid=1, counters=own),
            "gateway_1": answer(realms, pid=2, counters=own),
        }

    take(monitor, 0.0, **gateways(0))
    snapshot = take(monitor, 1.0, **gateways(1))
    shown = [(one.name, one.rates.calls, one.rates.bytes_in) for one in snapshot.realms]
    assert shown == [("com.example", 4.0, 30.0), ("other", 2.0, 0.0)]
    assert snapshot.rates.calls == 6.0


def test_a_restarted_process_is_counted_and_its_counters_begin_anew(monitor):
    take(monitor, 0.0, gateway_0=answer({"r": {"calls": 1000}}, pid=1))
    take(monitor, 1.0, gateway_0=answer({"r": {"calls": 1100}}, pid=1))
    gone = take(monitor, 2.0, gateway_0={"status": "down"})
    assert gone.rates.calls == 0
    assert gone.processes[0].restarts == 0
    back = take(monitor, 3.0, gateway_0=answer({"r": {"calls": 10}}, pid=2))
    assert (back.processes[0].restarts, back.rates.calls) == (1, 0)
    assert take(monitor, 4.0, gateway_0=answer({"r": {"calls": 12}}, pid=2)).rates.calls == 2.0


def test_the_share_of_a_core_is_that_since_the_last_picture(monitor):
    first = take(monitor, 0.0, shard_0=answer(processor=5.0, cores=0.3))
    assert first.processes[0].cores == 0.3
    assert take(monitor, 2.0, shard_0=answer(processor=6.0)).processes[0].cores == 0.5


def test_what_nodes_of_one_process_share_is_shown_once(monitor):
    def nodes(processor):
        return {
            "router": {"status": "ok", "pid": 7, "processor": processor, "memory": 100},
            "gateway_0": answer(pid=7, processor=processor, memory=100),
        }

    take(monitor, 0.0, **nodes(0.0))
    router, gateway = take(monitor, 1.0, **nodes(0.9)).processes
    assert (router.cores, router.memory) == (0.9, 100)
    assert (gateway.cores, gateway.memory) == (None, None)


def test_queues_and_buffers_are_gauges_and_trouble_is_told(monitor):
    gauges = {
        "queue_depth": 3,
        "reducer_queue": 4,
        "waiting_publishes": 5,
        "outbox_bytes": 600,
    }
    shard = answer(gauges=gauges, keys=9, links={"gateway-0": False, "gateway-x1": False})
    shard["store"] = "the disk is full"
    gateway = answer(pid=2, counters={"slow_consumers": 2}, gauges={"client_buffers": 7})
    snapshot = take(monitor, 0.0, shard_0=shard, gateway_0=gateway)
    shown = snapshot.processes[0]
    assert (shown.queued, shown.unhandled, shown.unread, shown.keys) == (12, 600, None, 9)
    assert shown.trouble == ["not linked to gateway-0", "store: the disk is full"]
    assert snapshot.processes[1].unread == 7
    assert snapshot.slow_clients == 2


def test_sessions_are_those_that_the_coordinator_knows(monitor):
    answers = {"gateway_0": answer(sessions=3), "coordinator": answer(pid=2, sessions=5)}
    assert take(monitor, 0.0, **answers).sessions == 5


def test_a_shortage_of_processes_is_told(monitor):
    take(monitor, 0.0, gateway_0=answer(processor=0.0))
    snapshot = take(monitor, 1.0, gateway_0=answer(processor=0.95))
    assert snapshot.sentences == [
        "All gateways are busy: one more would help (see FOX_GATEWAYS in conf/fox.conf)."
    ]


def test_processes_are_sorted_and_equal_ones_stay_in_order(monitor):
    take(monitor, 0.0, a=answer(pid=1), b=answer(pid=2), c=answer(pid=3))
    answers = {
        "a": answer(pid=1, processor=0.1, memory=3),
        "b": answer(pid=2, processor=0.5, memory=1),
        "c": answer(pid=3, processor=0.1, memory=2),
    }
    processes = take(monitor, 1.0, **answers).processes

    def order(sort):
        return "".join(one.name for one in in_order(processes, sort))

    assert (order("name"), order("cpu"), order("memory")) == ("abc", "bac", "acb")
