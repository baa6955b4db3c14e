"""fox bench, at a running server."""

import json
import signal

import pytest
from programs import FOX, PATIENCE, AtTerminal, Fox

QUICK = ("--seconds", "0.5", "--rate", "200", "--clients", "4", "--json")


@pytest.fixture
def fox(cluster):
    return Fox(cluster)


@pytest.mark.parametrize("protocol", [[], ["--mqtt"]])
@pytest.mark.parametrize("qos", [0, 1])
def test_nothing_that_is_published_is_lost(protocol, qos, fox):
    load = (*QUICK, *protocol, "--subscribers", "2", "--qos", qos)
    found = json.loads(fox.prints("bench", "pub", "--topic", f"bench/a{qos}/%i", *load))
    sent, received = found["sent"], found["received"]
    assert sent["count"] == sent["answered"] > 0
    assert (received["count"], received["lost"], received["duplicates"]) == (
        2 * sent["count"],
        0,
        0,
    )
    assert 0 < received["latency"]["p50"] <= received["latency"]["max"]
    assert (sent["latency"] is None) is (qos == 0)


@pytest.mark.parametrize(("ours", "theirs"), [([], ["--mqtt"]), (["--mqtt"], [])])
def test_another_process_counts_messages_of_the_other_protocol(ours, theirs, fox):
    topic = f"bench/between{len(ours)}"
    # At a terminal the command shows how many it has got.
    sub = [*FOX, "bench", "sub", "--topic", f"{topic}/#", *ours]
    with AtTerminal(sub, fox.environment) as counting:
        counting.await_shown("is subscribed to")
        # This one comes before those of the load's first client, which have the same topic.
        fox.prints("pub", f"{topic}/0", "hello")
        sent = json.loads(fox.prints("bench", "pub", "--topic", f"{topic}/%i", *QUICK, *theirs))
        count = sent["sent"]["count"]
        counting.await_shown(f"received {count:,} (")
        counting.type("\x03")
        counting.await_shown("others       1 messages, none of this command's")
        assert counting.process.wait(PATIENCE) == 0  # nothing is lost
    assert f"received     {count:,}, ".encode() in counting.shown
    assert b"lost         0\r\n" in counting.shown


def test_calls_are_answered_by_the_load_itself(fox):
    found = json.loads(fox.prints("bench", "call", *QUICK))["sent"]
    assert found["count"] == found["answered"] > 0
    assert found["failed"] == 0


def test_calls_that_fail_are_told_and_the_exit_code_is_1(fox):
    code, out, err = fox.run("bench", "call", "--procedure", "no.such", "--seconds", "0.2")
    assert (code, err) == (1, "")
    assert "failed " in out
    assert "no.such" in out


def test_ctrl_c_prints_what_was_measured_so_far(fox):
    with fox.start("bench", "pub", "--seconds", "60", "--topic", "bench.long.%i") as load:
        fox.prints("sub", "bench.long.#", "--count", "1")
        load.signal(signal.SIGINT)
        code, out, _ = load.end()
    assert code == 0
    assert out.startswith("published ")
    assert "answered " in out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("pub", "--url", "mqtt://127.0.0.1:1"), 69, "Cannot connect to mqtt://127.0.0.1:1: "),
        (("pub", "--url", "ws://127.0.0.1:1/ws"), 69, "Cannot connect to ws://127.0.0.1:1/ws: "),
        (("call", "--mqtt"), 2, "MQTT clients cannot call"),
        (("pub", "--mqtt", "--url", "ws://a/"), 2, "is no address of MQTT clients"),
        (("pub", "--realm", "nowhere"), 69, "does not let us into 'nowhere'"),
        (("pub", "--size", "63"), 2, "64 bytes to 16 MiB"),
        (("pub", "--window", "65536"), 2, "argument --window: 10,000 at most"),
        (("sub", "--topic", "$SYS.private", "--clients", "0"), 2, "a whole number from 1 on"),
    ],
)
def test_mistakes_are_told_in_words(arguments, code, sentence, fox):
    got, out, err = fox.run("bench", *arguments)
    assert (got, out) == (code, "")
    assert sentence in err
    assert "Traceback" not in err
