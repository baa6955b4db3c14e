"""tools/zmqtap: decoding, filters, views and records, and real taps over ZeroMQ."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgpack
import msgspec
import pytest
import zmq

from fox_shard.backplane import frames
from fox_shard.backplane.tap import BATCH_LIMIT, RECEIVED, SENT, WAITING_LIMIT, Tap
from fox_shard.tap import command, sources
from fox_shard.tap.decode import KINDS, Copy, jsonable, read_batch

TOOLS = Path(__file__).resolve().parents[3] / "tools"

PUBLISH = frames.Publish(
    "realm1", "a.b", 7, 1, 3, frames.ACKNOWLEDGE | frames.QOS1, 1, b"[1]", b'{"k":2}'
)
CALL = frames.Call("realm1", "add.two", 8, 4, 1, 0, 0, 2, msgpack.packb([1, 2]))
ALL = [
    PUBLISH,
    frames.Event(99, PUBLISH),
    frames.Subscribe(1, "realm1", "*a.+.#", True),
    frames.Invocation(5, 9, 12, CALL),
    frames.Published(7, [1], [99]),
    frames.Publish(
        "com.other",
        "x",
        70,
        0,
        1,
        0,
        4,
        b"\xff\x1b[2J",
        fence=frames.Fence("gateway-0", [(1, 2, 3)]),
    ),
    frames.SyncEnd(),
]


def batch_of(*contents: object, first: int = 10, reliable: tuple[int, ...] = ()) -> bytes:
    return msgpack.packb(
        ["gateway-0", 1, 2, first, 5, 5, 5, False, 40, list(reliable), list(contents), 39, False]
    )


def real_batch(*contents: frames.Frame) -> bytes:
    return frames.encode(
        frames.Batch("gateway-0", 1, 2, 10, 5, 5, 5, False, 40, [0], list(contents), 39)
    )


def copy_of(
    batch: bytes, *, process: str = "gateway-0", direction: str = ">", number: int = 1
) -> Copy:
    return Copy(1_700_000_000.25, process, direction, "shard-1", number, batch)


def record(path: Path, *copies: Copy) -> Path:
    recorder = sources.Recorder(path)
    for copy in copies:
        recorder.record(copy)
    recorder.close()
    return path


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert command.main(list(argv)) == 0
    return capsys.readouterr().out.splitlines()


def test_every_frame_of_the_protocol_has_a_kind():
    assert len(KINDS) == len(set(KINDS)) == len(frames.Frame.__args__)
    assert {"publish", "call_error", "sync_end"} <= set(KINDS)


def test_frames_are_read_with_names_numbers_and_nested_frames():
    seen = read_batch(copy_of(real_batch(*ALL)))
    assert [one.kind for one in seen] == [
        "publish", "event", "subscribe", "invocation", "published", "publish", "sync_end",
    ]  # fmt: skip
    assert [one.problem for one in seen] == [""] * len(ALL)
    assert [one.seq for one in seen] == list(range(10, 17))
    assert [one.rseq for one in seen] == [40] + [None] * 6
    assert seen[0].fields["args"] == b"[1]"
    assert (seen[1].realm, seen[1].topic, seen[1].sessions) == ("realm1", "a.b", [7])
    assert (seen[3].topic, seen[3].sessions) == ("add.two", [9, 8])
    assert seen[5].fields["fence"] == {"origin": "gateway-0", "marks": [[1, 2, 3]]}


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        ([99, "x"], "unknown", "unknown tag 99"),
        (["publish"], "unknown", "unknown tag 'publish'"),
        ([], "unknown", "unknown tag None"),
        ({"a": 1}, "unknown", "unknown tag None"),
        (True, "unknown", "unknown tag None"),
        ([3, 1, 2], "published", "2 fields instead of 3"),
        ([3, 1, 2, 3, 4], "published", "4 fields instead of 3"),
        ([3, "1", 2, 3], "published", "session is text, not an integer"),
        ([3, True, 2, 3], "published", "session is a boolean, not an integer"),
        ([2, 1, [3, 1, 2, 3]], "event", "publish has tag [3] instead of 1"),
        ([2, 1, None], "event", "publish is nothing, not an array"),
        ([44, [], {}], "report", "counters is list, not an array or map"),
        ([44, {"a": "b"}, {}], "report", "counters[a] is text, not an integer"),
    ],
)
def test_a_frame_that_the_server_could_not_read_is_shown_with_its_mistake(content, kind, problem):
    good = [61]
    seen = read_batch(copy_of(batch_of(good, content, good)))
    assert [one.kind for one in seen] == ["sync_end", kind, "sync_end"]
    assert problem in seen[1].problem
    assert not seen[0].problem
    assert not seen[2].problem
    if (
        problem != "4 fields instead of 3"
    ):  # decoding skips fields that a newer version may have added
        with pytest.raises(msgspec.DecodeError):
            frames.decode(batch_of(content))


@pytest.mark.parametrize(
    ("batch", "kinds", "problem"),
    [
        (b"", ["unreadable"], "ends (or was cut) after 0 bytes"),
        (b"\xc1", ["unreadable"], "no msgpack"),
        (b"\x05", ["unreadable"], "no array"),
        (msgpack.packb([1, 2, 3]), ["unreadable"], "3 fields instead of 13"),
        (batch_of([61], [61])[:-1], ["sync_end", "sync_end", "unreadable"], "was cut"),
        (batch_of([61], [61])[:-3], ["sync_end", "unreadable"], "was cut"),
        (batch_of([61]) + b"\x00\x00", ["sync_end", "unreadable"], "2 bytes behind"),
        (
            msgpack.packb(["a", 1, 2, 3, 4, 5, 6, False, 7, [], 8, 0, False]),
            ["unreadable"],
            "frames are no array",
        ),
        (b"\x91" * 5000, ["unreadable"], ""),
    ],
)
def test_the_readable_frames_of_a_broken_batch_are_shown_before_its_mistake(batch, kinds, problem):
    seen = read_batch(copy_of(batch))
    assert [one.kind for one in seen] == kinds
    assert problem in seen[-1].problem
    assert seen[-1].problem


def test_text_that_is_not_utf_8_is_shown_and_marked():
    data = batch_of([5, 1, "REALM", "=a", False]).replace(b"REALM", b"RE\xffLM")
    (one,) = read_batch(copy_of(data))
    assert one.problem == "realm is not UTF-8"


@pytest.mark.parametrize(
    ("argv", "kinds"),
    [
        ([], "publish event subscribe invocation published publish sync_end"),
        (["--kind", "event,publish"], "publish event publish"),
        (["--kind", "sync-end"], "sync_end"),
        (["--realm", "realm1"], "publish event subscribe invocation"),
        (["--realm", "com.other"], "publish"),
        (["--topic", "a.#"], "publish event subscribe"),
        (["--topic", "a/+"], "publish event"),
        (["--topic", "a.*.#"], "publish event subscribe"),
        (["--topic", "add.two"], "invocation"),
        (["--session", "7"], "publish event published"),
        (["--session", "8", "--session", "70"], "invocation publish"),
        (["--session", "9"], "invocation"),
        (
            ["--process", "gateway-*"],
            "publish event subscribe invocation published publish sync_end",
        ),
        (["--process", "shard-*"], ""),
        (["--limit", "2"], "publish event"),
        (["--realm", "realm1", "--kind", "event", "--topic", "a/b", "--session", "7"], "event"),
    ],
)
def test_filters_select_the_frames_to_show(argv, kinds, tmp_path, capsys):
    file = record(tmp_path / "r", copy_of(real_batch(*ALL)))
    lines = shown(capsys, "--replay", str(file), "--json", *argv)
    assert [json.loads(line)["kind"] for line in lines] == kinds.split()


def test_a_frame_that_two_taps_see_is_shown_once(tmp_path, capsys):
    sent = copy_of(real_batch(PUBLISH))
    received = Copy(sent.time, "shard-1", "<", "gateway-0", 1, sent.batch)
    file = str(record(tmp_path / "r", sent, received))
    assert len(shown(capsys, "--replay", file)) == 1
    assert len(shown(capsys, "--replay", file, "--both")) == 2


def test_a_line_has_all_columns_and_no_control_characters(tmp_path, capsys):
    file = str(
        record(tmp_path / "r", copy_of(real_batch(*ALL)), copy_of(batch_of([79, "\x1b[2J"])))
    )
    lines = shown(capsys, "--replay", file)
    assert lines[0].split()[1:] == [
        *("gateway-0", ">", "shard-1", "#10/r40", "publish", "realm1", "a.b", "s=7"),
        *("json:", "[1]", '{"k":2}', "request=1", "order=3", "ACKNOWLEDGE", "QOS1"),
    ]
    assert "msgpack: [1, 2]" in lines[3]
    assert "raw: ff1b5b324a" in lines[5]
    assert "!! unknown tag 79" in lines[7]
    assert all(line.isprintable() for line in lines)


def test_colours_are_used_only_on_request(tmp_path, capsys):
    file = str(record(tmp_path / "r", copy_of(real_batch(PUBLISH))))
    assert shown(capsys, "--replay", file, "--color", "always")[0].startswith("\x1b[")
    assert "\x1b" not in shown(capsys, "--replay", file, "--color", "auto")[0]
    assert "\x1b" not in shown(capsys, "--replay", file, "--color", "never")[0]


@pytest.mark.parametrize(
    ("encoding", "args", "value"),
    [
        (0, b"", None),
        (1, b'[1,"x"]', [1, "x"]),
        (1, b"[1", {"hex": "5b31"}),
        (1, b"[" * 100_000, {"hex": "5b" * 100_000}),
        (2, msgpack.packb([1, {"a": b"\x01"}]), [1, {"a": {"hex": "01"}}]),
        (2, msgpack.packb([float("nan")]), ["nan"]),
        (3, bytes.fromhex("820102"), [1, 2]),
        (3, bytes.fromhex("d81c81d81d00"), {"hex": "d81c81d81d00"}),
        (4, b"20.5", "20.5"),
        (4, b"\xff", {"hex": "ff"}),
        (9, b"x", "x"),
        (1, 5, 5),
    ],
)
def test_json_shows_the_values_of_a_payload_or_its_bytes(encoding, args, value):
    assert jsonable({"encoding": encoding, "args": args}) == {"encoding": encoding, "args": value}


def test_json_shows_all_fields_of_a_frame(tmp_path, capsys):
    file = record(tmp_path / "r", copy_of(real_batch(frames.Event(99, PUBLISH))))
    (line,) = shown(capsys, "--replay", str(file), "--json")
    shown_record = json.loads(line)
    assert shown_record["fields"]["publish"].pop("args") == [1]
    assert shown_record["fields"]["publish"].pop("kwargs") == {"k": 2}
    assert shown_record == {
        "time": 1_700_000_000.25,
        "process": "gateway-0",
        "direction": ">",
        "peer": "shard-1",
        "seq": 10,
        "rseq": 40,
        "kind": "event",
        "fields": {
            "publication": 99,
            "publish": {
                **{"realm": "realm1", "topic": "a.b", "session": 7, "request": 1, "order": 3},
                **{"flags": 17, "encoding": 1, "publisher": None, "audience": None, "fence": None},
                **{"retain": None, "attributes": None},
            },
        },
    }


def test_raw_shows_all_batches_even_those_without_frames(tmp_path, capsys):
    empty, full = real_batch(), real_batch(PUBLISH)
    file = str(record(tmp_path / "r", copy_of(empty), copy_of(full)))
    lines = shown(capsys, "--replay", file, "--raw")
    assert [bytes.fromhex(line.split()[-1]) for line in lines] == [empty, full]
    lines = shown(capsys, "--replay", file, "--raw", "--kind", "publish")
    assert [bytes.fromhex(line.split()[-1]) for line in lines] == [full]


def test_count_gives_rates_by_process_direction_and_kind(tmp_path, capsys):
    copies = [
        Copy(100.0 + i / 4, "gateway-0", ">", "shard-0", i + 1, real_batch(PUBLISH, PUBLISH, CALL))
        for i in range(8)
    ]
    file = str(record(tmp_path / "r", *copies))
    lines = [json.loads(line) for line in shown(capsys, "--replay", file, "--count", "--json")]
    assert [(one["kind"], one["frames_per_second"]) for one in lines[:2]] == [
        ("call", 4.0),
        ("publish", 8.0),
    ]
    assert {one["time"] for one in lines} == {101.0, 102.75}
    assert "publish" in shown(capsys, "--replay", file, "--count")[2]


def test_a_record_is_appended_to_and_may_end_in_the_middle_of_a_batch(tmp_path, capsys):
    file = record(tmp_path / "r", copy_of(real_batch(PUBLISH)))
    record(file, copy_of(real_batch(PUBLISH)))
    assert len(shown(capsys, "--replay", str(file))) == 2
    again = tmp_path / "again"
    assert command.main(["--replay", str(file), "--record", str(again), "--limit", "1"]) == 0
    assert len(shown(capsys, "--replay", str(again))) == 1
    file.write_bytes(file.read_bytes()[:-3])
    assert command.main(["--replay", str(file)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert command.main(["--replay", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_file_that_is_no_record_is_reported(tmp_path, capsys):
    file = tmp_path / "r"
    file.write_bytes(b"\x01\x02")
    assert command.main(["--replay", str(file)]) == 0
    assert "no record" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--kind", "publish,event,vent"], "no kind vent"),
        (["--topic", "a/#/b"], "neither notation"),
        (["--limit", "0"], "1 or more"),
        (["--raw", "--json"], "--json"),
        (["--raw", "--count"], "not allowed"),
    ],
)
def test_mistakes_on_the_command_line_are_explained(argv, message, capsys):
    with pytest.raises(SystemExit):
        command.main(argv)
    assert message in capsys.readouterr().err


# Over ZeroMQ


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # short enough for the path of a socket
        yield Path(folder)


def wait_until_active(tap: Tap, *, active: bool = True) -> None:
    """Wait like an event loop: handle the tap only when its descriptor is readable."""
    poller = zmq.Poller()
    poller.register(tap.fileno(), zmq.POLLIN)
    while tap.active is not active:
        assert poller.poll(10_000), "no news of subscribers"
        tap.on_readable()


def subscriber(context: "zmq.Context[zmq.Socket[bytes]]", run_dir: Path, topic: bytes = b""):
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(f"ipc://{run_dir}/tap/shard-1")
    return socket


def test_a_tap_is_active_while_it_has_a_subscriber(context, run_dir):
    tap = Tap(context, run_dir, "shard-1")
    assert (run_dir / "tap").stat().st_mode & 0o777 == 0o700
    assert not tap.active
    first, second = subscriber(context, run_dir), subscriber(context, run_dir)
    wait_until_active(tap)
    tap.publish(SENT, "gateway-0", b"batch")
    topic, header, batch = first.recv_multipart()
    assert (topic, batch) == (b"shard-1", b"batch")
    direction, peer, when, number = msgpack.unpackb(header)
    assert (direction, peer, number) == (b">", "gateway-0", 1)
    assert when > 1_700_000_000
    first.close()
    second.close()
    wait_until_active(tap, active=False)
    tap.close()
    again = Tap(context, run_dir, "shard-1")
    again.close()


def test_a_tap_makes_no_copies_for_subscribers_of_other_processes(context, run_dir):
    tap = Tap(context, run_dir, "shard-1")
    other, ours = subscriber(context, run_dir, b"gateway"), subscriber(context, run_dir, b"shard")
    wait_until_active(tap)
    ours.close()
    wait_until_active(tap, active=False)
    other.close()
    tap.close()


def test_a_tap_drops_for_a_subscriber_that_stopped_and_never_waits(context, run_dir):
    tap = Tap(context, run_dir, "shard-1")
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(f"ipc://{run_dir}/tap/shard-1")
    wait_until_active(tap)
    sent = WAITING_LIMIT * 10
    for _ in range(sent):
        tap.publish(RECEIVED, "gateway-0", bytes(BATCH_LIMIT + 5))
    parts = socket.recv_multipart()
    assert len(parts[2]) == BATCH_LIMIT
    received = 1
    while socket.poll(500):
        number = msgpack.unpackb(socket.recv_multipart()[1])[3]
        received += 1
    assert received < sent
    tap.publish(SENT, "gateway-0", b"after")
    assert msgpack.unpackb(socket.recv_multipart()[1])[3] == sent + 1 > number
    socket.close()
    tap.close()


def test_zmqtap_attaches_to_running_and_to_later_processes_and_detaches(context, run_dir):
    first = Tap(context, run_dir, "shard-0")
    process = subprocess.Popen(
        [str(TOOLS / "zmqtap"), "--run-dir", str(run_dir), "--json", "--limit", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_active(first)
        second = Tap(context, run_dir, "gateway-0")
        wait_until_active(second)
        first.publish(RECEIVED, "gateway-0", real_batch(PUBLISH))
        first.publish(SENT, "gateway-0", real_batch(frames.Published(7, [1], [99])))
        second.publish(SENT, "shard-0", real_batch(PUBLISH))
        out, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    seen = {(one["process"], one["kind"]) for one in map(json.loads, out.splitlines())}
    assert seen == {("shard-0", "published"), ("gateway-0", "publish")}
    assert process.returncode == 0
    assert "attached to shard-0" in errors
    wait_until_active(first, active=False)
    wait_until_active(second, active=False)
    first.close()
    second.close()


def test_zmqtap_ends_quietly_when_interrupted(context, run_dir):
    tap = Tap(context, run_dir, "shard-0")
    file = run_dir / "record"
    process = subprocess.Popen(
        [str(TOOLS / "zmqtap"), "--run-dir", str(run_dir), "--record", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_active(tap)
        process.send_signal(2)
        out, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in errors
    assert "batches recorded" in errors
    tap.close()


def test_zmqtap_finds_the_run_directory_by_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "fox.toml").write_text('run_dir = "there"')
    monkeypatch.delenv("FOX_RUN_DIR", raising=False)
    assert command._run_dir() == TOOLS.parent / "run"
    monkeypatch.setenv("FOX_CONFIG", str(tmp_path / "conf" / "fox.toml"))
    assert command._run_dir() == tmp_path / "there"
    monkeypatch.setenv("FOX_RUN_DIR", str(tmp_path / "elsewhere"))
    assert command._run_dir() == tmp_path / "elsewhere"
