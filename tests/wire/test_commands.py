"""fox get, put, keys, watch and lock, at a running server."""

import json
import os
import re
import select
import shlex
import signal
import sys
import textwrap
from contextlib import ExitStack, closing

import paho.mqtt.publish
import pytest
from cluster import ROOT, Cluster, await_true
from programs import FOX, AtTerminal, Fox, alive
from raw_wamp import PUBLISH, PUBLISHED, RawWamp

HOLD = ("sh", "-c", "echo $FOX_FENCE; echo $$; read line")
"""A command that prints the fence and its process id, and runs until it reads a line."""

LOST = 75


@pytest.fixture
def fox(cluster):
    return Fox(cluster)


def shown_session():
    """Return the first session in docs/commands.md as (command, output), with ids as N."""
    text = (ROOT / "docs" / "commands.md").read_text()
    (block,) = re.findall(r"((?:^    .*\n)+)", text, re.MULTILINE)[:1]
    parts = re.split(r"^    \$ (.*)\n", block, flags=re.MULTILINE)
    assert parts.pop(0) == ""
    return [
        (command, numbered(textwrap.dedent(said)))
        for command, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def numbered(text):
    return re.sub(r"\d{15,}", "N", text)


def test_the_documentation_shows_the_output_of_the_commands(fox):
    for command, said in shown_session():
        program, *arguments = shlex.split(command)
        assert program == "fox"
        _, out, err = fox.run(*arguments)
        assert numbered(out + err) == said
    fox.prints("put", "com.example.color", "--delete")


def weak_key(cluster, topic, value):
    """Return a session that has published a weak key."""
    client = RawWamp(cluster.rawsocket)
    options = {"acknowledge": True, "retain": True, "weak": True}
    client.do(PUBLISH, options, topic, [value], answer=PUBLISHED)
    return client


@pytest.mark.parametrize(
    ("value", "plain", "as_json"),
    [
        ("half price", "half price\n", '"half price"\n'),
        ('{"a": [1, null]}', '{"a":[1,null]}\n', '{"a":[1,null]}\n'),
        ("21.5", "21.5\n", "21.5\n"),
        ('"21.5"', "21.5\n", '"21.5"\n'),
        ("[1, 2]", "[1,2]\n", "[1,2]\n"),
    ],
)
def test_get_prints_what_was_put(value, plain, as_json, fox):
    assert int(fox.prints("put", "cmd.value", value)) > 0
    assert fox.prints("get", "cmd.value") == plain
    assert fox.prints("get", "cmd.value", "--json") == as_json


def test_get_prints_bytes_as_they_are(cluster, fox):
    paho.mqtt.publish.single("cmd/bytes", b"\x00\x01", qos=1, retain=True, port=cluster.mqtt)
    assert fox.prints("get", "cmd.bytes") == "\x00\x01"


def test_put_reads_standard_input_and_deletes(fox):
    fox.prints("put", "cmd.stdin", "-", stdin="two\nlines\n")
    assert fox.prints("get", "cmd.stdin") == "two\nlines\n"
    fox.prints("put", "cmd.stdin", "--delete")
    assert fox.run("get", "cmd.stdin") == (1, "", "fox: There is no key cmd.stdin.\n")


def test_topics_may_be_in_either_notation(fox):
    fox.prints("put", "cmd.notation", "1")
    assert fox.prints("get", "cmd/notation") == "1\n"
    assert fox.prints("keys", "+/notation/#") == "cmd.notation\n"
    fox.prints("put", "cmd/notation", "--delete")
    # A key of that name may exist, too.
    fox.prints("put", "wamp:cmd/notation", "2")
    assert fox.prints("get", "mqtt:cmd.notation") == "2\n"
    fox.prints("put", "wamp:cmd/notation", "--delete")


def test_put_may_limit_the_lifetime_of_a_key(fox):
    fox.prints("put", "cmd.offer", "half price", "--for", "0.3")
    await_true("it is gone", lambda: fox.run("get", "cmd.offer")[0] == 1)


def test_put_publishes_only_if_its_condition_holds(fox):
    first = fox.prints("put", "cmd.cas", '{"state": "on"}', "--new").strip()
    code, out, err = fox.run("put", "cmd.cas", "other", "--new")
    assert (code, out) == (1, "")
    assert err.startswith("fox: the condition does not hold")
    assert first in err
    assert fox.run("put", "cmd.cas", "other", "--when-id", "0")[0] == 1
    assert fox.run("put", "cmd.cas", "other", "--when", '{"state": "off"}')[0] == 1
    second = fox.prints("put", "cmd.cas", '{"state": "off"}', "--when", '{"state": "on"}').strip()
    assert int(second) > int(first)
    fox.prints("put", "cmd.cas", "--delete", "--when-id", second)
    assert fox.run("get", "cmd.cas")[0] == 1


def test_put_may_wait_for_its_condition(fox):
    first = fox.prints("put", "cmd.turn", "mine").strip()
    with fox.start("put", "cmd.turn", "theirs", "--new", "--wait") as waiting:
        fox.prints("put", "cmd.turn", "--delete", "--when-id", first)
        assert int(waiting.line()) > int(first)
        assert waiting.end() == (0, "", "")
    assert fox.prints("get", "cmd.turn") == "theirs\n"


def test_keys_are_listed_and_the_list_ends(fox):
    ids = {
        topic: fox.prints("put", topic, topic[-1]).strip()
        for topic in ("cmdkeys.b.x", "cmdkeys.a.x", "cmdkeys.a.y")
    }
    assert fox.prints("keys", "cmdkeys.#").split() == sorted(ids)
    assert fox.prints("keys", "cmdkeys.*.x").split() == ["cmdkeys.a.x", "cmdkeys.b.x"]
    assert fox.prints("keys", "cmdkeys..x", "--match", "wildcard").split() == [
        "cmdkeys.a.x",
        "cmdkeys.b.x",
    ]
    assert fox.prints("keys", "cmdkeys.a", "--match", "prefix").split() == [
        "cmdkeys.a.x",
        "cmdkeys.a.y",
    ]
    assert fox.prints("keys", "cmdkeys.b.#", "--long") == (
        f'cmdkeys.b.x\t{ids["cmdkeys.b.x"]}\t"x"\n'
    )
    assert fox.prints("keys", "cmdkeys.none") == ""
    assert set(ids) < set(fox.prints("keys").split())


def test_watch_prints_each_change_of_state(cluster, fox):
    fox.prints("put", "cmdwatch.a", "1")
    with fox.start("watch", "cmdwatch.#") as watch:
        assert watch.line() == "cmdwatch.a\t1"
        fox.prints("put", "cmdwatch.a", '{"b": 2}')
        assert watch.line() == 'cmdwatch.a\t{"b":2}'
        fox.prints("put", "cmdwatch.a", "--delete")
        assert watch.line() == "cmdwatch.a\t-\tdeleted"
        fox.prints("put", "cmdwatch.b", "short", "--for", "0.2")
        assert watch.line() == 'cmdwatch.b\t"short"'
        assert watch.line() == "cmdwatch.b\t-\texpired"
        with closing(weak_key(cluster, "cmdwatch.c", "here")):
            assert watch.line() == 'cmdwatch.c\t"here"'
        assert watch.line() == "cmdwatch.c\t-\tweak"
        watch.signal(signal.SIGINT)
        assert watch.end() == (130, "", "")


def test_the_reader_of_watch_may_close_the_pipe(fox):
    fox.prints("put", "cmdhead.a", "1")
    with fox.start("watch", "cmdhead.#") as watch:
        assert watch.line() == "cmdhead.a\t1"
        watch.process.stdout.close()
        fox.prints("put", "cmdhead.a", "2")
        assert watch.process.wait(30) == 141
        assert watch.process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        (["get", "a", "--realm", "none"], {}, 69, "does not let us into 'none'"),
        (
            ["get", "a", "--url", "ws://127.0.0.1:1/ws"],
            {},
            69,
            "Cannot connect to ws://127.0.0.1:1",
        ),
        (["get", "a", "--url", "ws://127.0.0.1:{mqtt}/ws"], {}, 69, "There is no router at"),
        (["get", "a", "--url", "ws://127.0.0.1:1/ws"], {}, 69, "The address comes from --url."),
        (
            ["get", "a"],
            {"FOX_GATEWAY_WEBSOCKET": "127.0.0.1:1"},
            69,
            "The address comes from FOX_GATEWAY_WEBSOCKET. Does the server run?",
        ),
        (["get", "a"], {"FOX_GATEWAY_WEBSOCKET": "off"}, 2, "gateway.websocket is off"),
        (["put", "wamp.a", "1"], {}, 1, "reserved"),
        (["lock", "wamp.a", "--", "true"], {}, 1, "reserved"),
        (["watch", "a", "--realm", "none"], {}, 69, "does not let us into 'none'"),
    ],
)
def test_each_failure_is_reported_in_one_sentence(
    arguments, environment, code, sentence, cluster, fox
):
    arguments = [argument.format(mqtt=cluster.mqtt) for argument in arguments]
    done = fox.run(*arguments, **environment)
    assert done[:2] == (code, "")
    assert sentence in done[2]
    assert done[2].startswith("fox: ")
    assert done[2].count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -USR1 $$"], 128 + signal.SIGUSR1),
        (["sh", "-c", "kill -KILL $$"], 137),
    ],
)
def test_lock_exits_with_the_code_of_its_command(command, code, fox):
    assert fox.run("lock", "cmdlock.codes", "--", *command) == (code, "", "")
    assert fox.run("get", "cmdlock.codes")[0] == 1


def test_lock_reports_a_command_that_cannot_run_and_is_released(fox):
    err = "fox: Cannot run /none: No such file or directory.\n"
    assert fox.run("lock", "cmdlock.none", "--", "/none") == (127, "", err)
    assert fox.run("lock", "cmdlock.none", "--", "/tmp")[0] == 126
    assert fox.run("get", "cmdlock.none")[0] == 1


def test_the_command_knows_its_lock_and_the_key_its_holder(fox):
    with fox.start(
        "lock", "cmdlock.env", "--", "sh", "-c", "echo $FOX_LOCK $FOX_FENCE; read x"
    ) as p:
        name, fence = p.line().split()
        assert name == "cmdlock.env"
        holder = json.loads(fox.prints("get", "cmdlock.env"))
        assert holder == {"host": os.uname().nodename, "pid": p.pid}
        assert fox.prints("keys", "cmdlock.env", "--long").split("\t")[1] == fence
        p.say()
        assert p.end() == (0, "", "")


def test_the_command_may_use_fox(fox):
    look = ["lock", "cmdlock.look", "--value", '"me"', "--", "sh", "-c", 'exec "$0" "$@"']
    assert fox.prints(*look, *FOX, "get", "cmdlock.look") == "me\n"


def test_waiters_take_turns_with_growing_fences_and_follow_a_killed_holder(fox):
    lock = ("lock", "cmdlock.turns", "--", *HOLD)
    with ExitStack() as stack:
        holder = stack.enter_context(fox.start(*lock))
        fence, command = (int(line) for line in holder.lines(2))
        waiting = [stack.enter_context(fox.start(*lock)) for _ in range(2)]
        fences = [fence]
        os.kill(holder.pid, signal.SIGKILL)
        await_true("the command is dead, too", lambda: not alive(command))
        while waiting:
            # Either may have come first; a waiter prints its line once it has the lock.
            holder = first_to_speak(waiting)
            waiting.remove(holder)
            fences.append(int(holder.line()))
            assert alive(int(holder.line()))
            holder.say()
            assert holder.end() == (0, "", "")
    assert fences == sorted(set(fences))
    assert len(fences) == 3
    assert fox.run("get", "cmdlock.turns")[0] == 1


def first_to_speak(programs):
    ready, _, _ = select.select([program.process.stdout for program in programs], [], [], 30)
    (found,) = [program for program in programs if program.process.stdout in ready]
    return found


def test_lock_names_the_holder_if_it_does_not_wait(fox):
    with fox.start("lock", "cmdlock.held", "--value", '{"by": "ann"}', "--", *HOLD) as holder:
        holder.lines(2)
        held = 'fox: cmdlock.held is held by {"by":"ann"}'
        assert fox.run("lock", "cmdlock.held", "--no-wait", "--", "echo", "no") == (
            LOST,
            "",
            f"{held}.\n",
        )
        assert fox.run("lock", "cmdlock.held", "--timeout", "0.2", "--", "echo", "no") == (
            LOST,
            "",
            f"{held}, and was not released within 0.2 s.\n",
        )
        holder.say()
        assert holder.end() == (0, "", "")
    assert fox.prints("lock", "cmdlock.held", "--no-wait", "--", "echo", "yes") == "yes\n"
    assert fox.prints("lock", "cmdlock.held", "--timeout", "9", "--", "echo", "yes") == "yes\n"


def test_an_interrupted_waiter_leaves_the_queue(cluster, fox):
    with fox.start("lock", "cmdlock.leave", "--", *HOLD) as holder:
        holder.lines(2)
        with fox.start("lock", "cmdlock.leave", "--", "echo", "no") as waiting:
            await_true("it is in the queue", lambda: cluster.waiting_publishes() == 1)
            waiting.signal(signal.SIGINT)
            assert waiting.end() == (130, "", "")
        await_true("it has left the queue", lambda: cluster.waiting_publishes() == 0)
        holder.say()
        holder.end()
    assert fox.prints("lock", "cmdlock.leave", "--no-wait", "--", "echo", "free") == "free\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on_to_the_command(number, fox):
    name = signal.Signals(number).name.removeprefix("SIG")
    script = f"trap 'echo {name}; exit 3' {name}; echo ready; while :; do sleep 0.1; done"
    with fox.start("lock", f"cmdlock.{name}", "--", "sh", "-c", script) as lock:
        assert lock.line() == "ready"
        lock.signal(number)
        assert lock.line() == name
        # The shell may report the end of its sleep, which gets the signal, too.
        assert lock.end()[:2] == (3, "")
    with fox.start("lock", f"cmdlock.{name}", "--", *HOLD) as lock:
        lock.lines(2)
        lock.signal(number)
        assert lock.end() == (128 + number, "", "")
    assert fox.run("get", f"cmdlock.{name}")[0] == 1


COUNT_INTERRUPTS = """
import signal, sys
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"interrupts: {len(seen)}"))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_at_a_terminal_ctrl_c_reaches_the_command_once(fox):
    command = [*FOX, "lock", "cmdlock.tty", "--", sys.executable, "-c", COUNT_INTERRUPTS]
    with AtTerminal(command, fox.environment) as lock:
        lock.await_shown("ready")
        lock.type("\x03")
        lock.await_shown("^C")
        lock.process.send_signal(signal.SIGTERM)  # passed on after all interrupts
        lock.await_shown("interrupts: 1\r\n")
        assert lock.process.wait(30) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (["--delete"], "The key was deleted."),
        (['"mine now"'], 'Somebody has published "mine now" there.'),
    ],
)
def test_a_lock_that_is_taken_away_ends_the_command(change, why, fox):
    with fox.start("lock", "cmdlock.away", "--", *HOLD) as lock:
        _, command = lock.lines(2)
        fox.prints("put", "cmdlock.away", *change)
        said = f"fox: The lock cmdlock.away is lost: {why} The command is ended.\n"
        assert lock.end() == (LOST, "", said)
        assert not alive(int(command))
    fox.prints("put", "cmdlock.away", "--delete")


def test_a_command_that_ignores_sigterm_is_killed_with_its_children(fox):
    script = "trap '' TERM; sleep 1000 & echo $$ $!; while :; do wait; done"
    with fox.start("lock", "cmdlock.deaf", "--grace", "0.2", "--", "sh", "-c", script) as lock:
        pids = lock.line().split()
        fox.prints("put", "cmdlock.deaf", "--delete")
        assert lock.end()[0] == LOST
        for pid in pids:
            await_true(f"{pid} is dead", lambda pid=pid: not alive(int(pid)))


@pytest.fixture(scope="module")
def mortal():
    """A broker whose processes are killed; every test leaves it running and linked."""
    with Cluster() as cluster:
        yield cluster


def test_a_lock_is_lost_with_its_gateway(mortal):
    fox = Fox(mortal)
    with fox.start("lock", "a.lock", "--", *HOLD) as lock:
        fence, command = lock.lines(2)
        gateway = f"gateway-{mortal.gateway_of_program(lock.pid)}"
        mortal.kill(gateway)
        code, _, err = lock.end()
        assert code == LOST
        assert err.startswith("fox: The lock a.lock is lost: The connection to ws://")
        assert not alive(int(command))
    mortal.start(gateway)
    mortal.await_ready()
    assert int(fox.prints("lock", "a.lock", "--", "sh", "-c", "echo $FOX_FENCE")) > int(fence)


def test_a_lock_is_lost_when_its_gateway_stands_still(mortal):
    """The command gives the gateway up before the shards do, who are more patient here."""
    patience = {"FOX_BACKPLANE_PEER_TIMEOUT": "2.0"}
    with Fox(mortal).start("lock", "a.lock", "--", *HOLD, **patience) as lock:
        _, command = lock.lines(2)
        gateway = mortal.processes[f"gateway-{mortal.gateway_of_program(lock.pid)}"]
        gateway.send_signal(signal.SIGSTOP)
        try:
            code, _, err = lock.end()
        finally:
            gateway.send_signal(signal.SIGCONT)
        assert code == LOST
        assert "does not answer any more" in err
        assert not alive(int(command))
    mortal.await_ready()


def test_a_lock_outlives_its_shard(mortal):
    fox = Fox(mortal)
    with fox.start("lock", "a.lock", "--", *HOLD) as lock:
        lock.lines(2)
        mortal.restart(f"shard-{mortal.shard_of('a.lock')}")
        mortal.await_ready()
        assert fox.run("lock", "a.lock", "--no-wait", "--", "true")[0] == LOST
        lock.say()
        assert lock.end() == (0, "", "")
