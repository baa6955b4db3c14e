"""Processes that are stopped for a while (SIGSTOP), as on a machine that is suspended or starved.

Nobody has taken over meanwhile, so nobody's session ends, and no will is published.
"""

import os
import signal
import time
from contextlib import closing

import pytest
from cluster import Cluster
from mqtt_peers import MqttPeers
from raw_wamp import EVENT, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, at_gateway


@pytest.fixture(scope="module")
def patient():
    """A broker with the default timeouts."""
    with Cluster() as cluster:
        yield cluster


def stop_for(cluster, names, seconds):
    """Stop the processes for so many seconds: that is the accident, nothing is waited for."""
    pids = [cluster.processes[name].pid for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("stopped", "seconds"), [("gateway-1", 3), ("gateway-1", 8), ("shard-1", 8), ("all", 8)]
)
def test_what_was_paused_goes_on_as_if_nothing_had_happened(patient, stopped, seconds):
    names = [*patient.processes] if stopped == "all" else [stopped]
    devices = MqttPeers(patient)
    with closing(at_gateway(patient, 0)) as here, closing(at_gateway(patient, 1)) as there:
        for one in (here, there):
            one.do(SUBSCRIBE, {"match": "prefix"}, "paused.", answer=SUBSCRIBED)
            one.do(SUBSCRIBE, {}, "wamp.session.on_leave", answer=SUBSCRIBED)
        mortal = devices.connect(
            "mortal", gateway=1, will={"topic": "paused/will", "payload": '"the will"', "qos": 1}
        )
        stop_for(patient, names, seconds)
        patient.await_ready()
        # What would have been said of ended sessions comes before these events.
        told = []
        for number, one in enumerate((here, there)):
            options = {"acknowledge": True, "exclude_me": False}
            one.send(PUBLISH, 900 + number, options, f"paused.{number}", [f"event {number}"])
            for reader in (here, there):
                while (message := reader.receive())[4:] != [[f"event {number}"]]:
                    assert message[0] in (PUBLISHED, EVENT)
                    told += message[4] if message[0] == EVENT else []
        # The sessions of earlier tests may still be leaving.
        assert not {here.session, there.session, "the will"} & set(told)
        assert not mortal.lost.is_set()
    devices.close()
