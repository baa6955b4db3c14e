"""fox pub, sub, call, register and sessions, at a running server."""

import json
import signal

import paho.mqtt.client
import pytest
from cluster import await_true
from programs import Fox
from raw_wamp import RawWamp


@pytest.fixture
def fox(cluster):
    return Fox(cluster)


def until_count(fox, topic, count):
    """Wait until so many sessions have subscribed to a topic."""

    def subscribers():
        found = fox.prints("call", "wamp.subscription.lookup", topic).strip()
        if not found or found == "null":
            return False
        return fox.prints("call", "wamp.subscription.count_subscribers", found).strip() == str(
            count
        )

    await_true(f"{count} subscribers of {topic}", subscribers)


def test_what_is_published_is_printed(fox):
    with (
        fox.start("sub", "cli.a", "--count", "3") as plain,
        fox.start("sub", "cli.a", "--json") as objects,
    ):
        until_count(fox, "cli.a", 2)
        first = fox.prints("pub", "cli.a", "21.5").strip()
        fox.prints("pub", "cli.a", "1", "two", "--kwargs", '{"x": null}')
        fox.prints("pub", "cli.a")
        assert plain.lines(3) == [
            "cli.a\t21.5",
            'cli.a\t{"args":[1,"two"],"kwargs":{"x":null}}',
            "cli.a\t[]",
        ]
        assert plain.end()[0] == 0
        seen = json.loads(objects.line())
        assert (seen["topic"], seen["publication"], seen["args"]) == (
            "cli.a",
            int(first),
            [21.5],
        )
        objects.signal(signal.SIGINT)
        assert objects.end()[0] == 130


def test_what_is_published_is_told_as_json(fox):
    told = json.loads(fox.prints("pub", "cli/json", "1", "--json"))
    assert told["topic"] == "cli.json"
    assert told["publication"] > 0


def test_text_that_looks_like_json_is_taken_for_text_and_that_is_said(fox):
    with fox.start("sub", "cli.text", "--count", "1") as events:
        until_count(fox, "cli.text", 1)
        code, _, err = fox.run("pub", "cli.text", '{"a":')
        assert code == 0
        assert err.startswith("fox: '{\"a\":' is taken for text, as it is no JSON: ")
        assert events.lines(1) == ['cli.text\t"{\\"a\\":"']


def test_each_line_of_standard_input_is_an_event(fox):
    with fox.start("sub", "cli.lines.#", "--count", "3") as events:
        until_count(fox, "cli.lines.#", 1)
        ids = fox.prints("pub", "cli.lines.x", "--lines", stdin='1\nhello\n{"a": []}\n')
        assert len(ids.splitlines()) == 3
        assert events.lines(3) == [
            "cli.lines.x\t1",
            'cli.lines.x\t"hello"',
            'cli.lines.x\t{"a":[]}',
        ]


def leave(callee):
    """End a command as Ctrl-C does: what it has registered ends before it does."""
    callee.signal(signal.SIGINT)
    assert callee.end()[0] == 130


def test_a_command_answers_calls(fox):
    script = 'read text; echo "$text from $FOX_PROCEDURE"'
    with fox.start("register", "cli.say", "--", "sh", "-c", script) as callee:
        assert callee.process.stderr.readline().decode().startswith("fox: cli.say is registered")
        assert fox.prints("call", "cli.say", "hello") == "hello from cli.say\n"
        said = fox.prints("call", "cli.say", "--json", '{"a": 1}')
        assert json.loads(said) == {"args": ['{"a":1} from cli.say'], "kwargs": {}}
        leave(callee)
    code, _, err = fox.run("call", "cli.say")
    assert code == 1
    assert "cli.say" in err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("sh", "-c", "echo oh no >&2; exit 3"), "The command has ended with exit code 3."),
        (("/no/such/command",), "/no/such/command cannot be run: No such file or directory."),
        (("head", "-c", "2000000", "/dev/zero"), "The result has more than 1,048,576 bytes."),
    ],
)
def test_a_command_that_fails_is_an_error_of_the_call(command, sentence, fox):
    with fox.start("register", "cli.fails", "--", *command) as callee:
        callee.process.stderr.readline()
        for _ in range(2):
            code, out, err = fox.run("call", "cli.fails")
            assert (code, out, err) == (1, "", f"fox: {sentence}\n")
        leave(callee)


def test_json_output_of_a_command_is_a_result_of_that_type(fox):
    with fox.start("register", "cli.json", "--", "echo", '{"n": [1, 2.5]}') as callee:
        callee.process.stderr.readline()
        assert json.loads(fox.prints("call", "cli.json")) == {"n": [1, 2.5]}


def test_a_call_may_have_a_timeout(fox):
    with fox.start("register", "cli.slow", "--", "cat", "/dev/zero") as callee:
        callee.process.stderr.readline()
        code, _, err = fox.run("call", "cli.slow", "--timeout", "0.2")
        assert code == 1
        assert "fox: " in err


def test_sessions_are_listed_and_ended(cluster, fox):
    device = paho.mqtt.client.Client(
        paho.mqtt.client.CallbackAPIVersion.VERSION2, client_id="cli-device"
    )
    device.connect("127.0.0.1", cluster.mqtt)
    device.loop_start()
    try:
        client = RawWamp(cluster.rawsocket)

        def are_listed():
            said = fox.prints("sessions", "ls", "--json").splitlines()
            listed = [json.loads(line) for line in said]
            protocols = {session["session"]: session["transport"]["protocol"] for session in listed}
            return client.session in protocols and "mqtt.3.1.1" in protocols.values()

        await_true("both are listed", are_listed)
        assert str(client.session) in fox.prints("sessions", "ls")
        assert fox.prints("sessions", "end", client.session, "--reason", "cli.over") == ""
        assert client.receive()[2] == "cli.over"
        client.close()
        code, _, err = fox.run("sessions", "end", client.session)
        assert code == 1
        assert str(client.session) in err
    finally:
        device.disconnect()
        device.loop_stop()
