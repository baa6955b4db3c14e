"""The benchmark's arithmetic: lost and repeated messages are noticed, and costs are right."""

import os
import socket

import msgspec
import pytest

from bench import report, table
from bench.flow import Source
from bench.measure import Cost, Sample, cost, owner, percentile
from bench.payload import LENGTH, Expected, Miscount, payload
from bench.records import cut, mqtt_header, websocket_header
from bench.shape import Shape
from bench.sparse import Plan
from bench.wamp_load import JSON, MSGPACK, _Pages


def packets(numbers, publisher=0):
    return b"".join(payload(publisher, number) for number in numbers)


def test_costs_are_differences_per_message():
    measured = cost(Sample(10.0, 1.0, 5.0, 100), Sample(12.0, 1.5, 5.1, 100_100))
    assert measured.rate == pytest.approx(50_000)
    assert measured.broker == pytest.approx(5.0)
    assert measured.generator == pytest.approx(1.0)


def test_the_median_is_taken_of_each_figure():
    rounds = [Cost(1, 30, 2, 0.1, 9.0), Cost(2, 10, 1, 0.3, 7.0), Cost(9, 20, 3, 0.2, 8.0)]
    assert report.middle(rounds) == Cost(2, 20, 2, 0.2, 8.0)
    assert report.middle([Cost(1, 2, 3)]) == Cost(1, 2, 3)


def test_the_cost_of_each_process_is_added_up_by_kind():
    before, after = Sample(0, 3.0, 0, 0, (1.0, 2.0, 0.0)), Sample(1, 6.0, 0, 1000, (2.0, 3.0, 1.0))
    measured = cost(before, after)
    assert measured.each == pytest.approx((1000, 1000, 1000))
    middle = report.middle([measured, measured._replace(each=(10.0, 20.0, 5.0))])
    said = report.split(["shard", "gateway", "gateway"], middle)
    assert said == "shard 505.000 µs, gateway 1012.500 µs"


@pytest.mark.parametrize(
    ("ours", "theirs", "target", "text"),
    [
        (2.0, 4.0, 1.0, "ratio 0.50, target 1.00: reached"),
        (4.0, 4.0, 1.0, "ratio 1.00, target 1.00: reached"),
        (5.0, 4.0, 1.2, "ratio 1.25, target 1.20: MISSED"),
        (5.0, 4.0, None, "ratio 1.25"),
    ],
)
def test_a_ratio_is_shown_beside_its_target(ours, theirs, target, text):
    assert report.verdict(Cost(1, ours, 1), Cost(1, theirs, 1), target) == text


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([1, 2, 3, 4], 0.5, 2), ([1, 2, 3, 4], 0.99, 4), ([7], 0.5, 7), (range(1, 101), 0.99, 99)],
)
def test_percentile_is_the_smallest_value_not_exceeded_by_the_share(values, share, expected):
    assert percentile(values, share) == expected


def test_messages_in_order_are_counted_across_the_period_of_their_numbers():
    expected = Expected([0])
    assert expected.take(packets(range(1, 996)), 0, LENGTH, 995) == [(0, 995)]
    assert expected.take(packets(range(996, 1006)), 0, LENGTH, 10) == [(0, 10)]
    assert expected.total == 1005


@pytest.mark.parametrize(
    "numbers",
    [[1, 2, 4], [1, 2, 2], [2, 1, 3], [1, 12, 3], [101, 2, 3]],
    ids=["missing", "double", "out of order", "wrong tens", "wrong hundreds"],
)
@pytest.mark.parametrize("publishers", [[0], [0, 1]], ids=["one publisher", "many"])
def test_a_miscount_is_noticed(numbers, publishers):
    with pytest.raises(Miscount):
        Expected(publishers).take(packets(numbers), 0, LENGTH, 3)


def test_a_message_of_another_publisher_is_noticed():
    with pytest.raises(Miscount):
        Expected([0]).take(packets([1]) + packets([2], publisher=1), 0, LENGTH, 2)


def test_interleaved_publishers_are_each_counted():
    data = packets([1]) + packets([1, 2], publisher=1) + packets([2])
    assert dict(Expected([0, 1]).take(data, 0, LENGTH, 4)) == {0: 2, 1: 2}


@pytest.mark.parametrize(
    ("header_of", "data", "runs", "taken"),
    [
        (mqtt_header, b"", [], 0),
        (mqtt_header, b"\x30", [], 0),
        (mqtt_header, b"\x30\1a\x30\1b\x30\1", [(0, 3, 2)], 6),
        (mqtt_header, b"\x30\1a\x62\2xy\x30\1b", [(0, 3, 1), (3, 4, 1), (7, 3, 1)], 10),
        (mqtt_header, b"\x30\1a\x30\1b\x30\2cd", [(0, 3, 2), (6, 4, 1)], 10),
        (websocket_header, b"\x81\1a\x81\1b\x81\2c", [(0, 3, 2)], 6),
        (websocket_header, b"\x81\x7e\0\x80" + b"x" * 128 + b"\x81\x7e\0", [(0, 132, 1)], 132),
    ],
)
def test_a_stream_is_cut_at_its_record_boundaries(header_of, data, runs, taken):
    assert cut(data, header_of) == (runs, taken)


@pytest.mark.parametrize("serializer", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("skipped", [0, 990, 9_990, 65_500, 99_990])
def test_request_ids_and_numbers_count_up_by_one(serializer, skipped):
    source = Source(_Pages(serializer, [16, 0, {}, "bench.t00"], 3).page)
    source.take(skipped)
    frames = b"".join(source.take(60))
    for number in range(skipped + 1, skipped + 61):
        length = frames[1] & 127
        message = serializer.decode(frames[6 : 6 + length])
        frames = frames[6 + length :]
        assert message == [16, number, {}, "bench.t00", [payload(3, number).decode()]]
    assert not frames


def test_windows_are_shared_by_the_publishers():
    assert Shape(1, 1).window_each == 512
    assert Shape(50, 50).window_each == 10
    assert Shape(50, 50, 1, 64).window_each == 4


def test_the_owner_of_a_connection_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with client, accepted:
            ends = client.getsockname(), client.getpeername()
            assert owner([os.getpid()], *ends) == os.getpid()
            assert owner([], *ends) is None


def test_results_can_be_written_as_json():
    result = report.as_json("a", "b", [Cost(1, 2, 3), Cost(3, 2, 1)])
    assert msgspec.json.decode(msgspec.json.encode(result))["median"]["rate"] == 2


def test_a_sparse_load_gives_each_subscriber_one_publisher_or_all_the_only_one():
    pairs = Plan(3, 3, 1.0, 1)
    assert [pairs.source_of(n) for n in range(3)] == [0, 1, 2]
    ring = Plan(3, 3, 1.0, 0, both=True)
    assert [ring.source_of(n) for n in range(3)] == [1, 2, 0]
    fan_out = Plan(1, 3, 1.0, 1)
    assert [fan_out.source_of(n) for n in range(3)] == [0, 0, 0]
    assert fan_out.fans_out
    assert not pairs.fans_out


def compared(scenario, ours, target=None, server="fox-shard", peer="mosquitto"):
    cost, other = Cost(1, ours, 1, 0.5, 1.0), Cost(1, 10.0, 1)
    return table.Comparison(scenario, server, peer, cost, other, target)


@pytest.fixture
def page(tmp_path):
    file = tmp_path / "bench.md"
    file.write_text("before\n<!-- table: begin -->\n<!-- table: end -->\nafter\n")
    return file


def test_the_table_is_written_in_its_place_and_only_what_became_worse_is_a_regression(page):
    assert table.regressions(page, [compared("a", 20.0)]) == []
    table.write(page, [compared("a", 20.0), compared("b", 5.0, 0.4)], {"date": "2026-11-29"})
    text = page.read_text()
    assert text.startswith("before\n<!-- table: begin -->\n* date: 2026-11-29\n")
    assert text.endswith("<!-- table: end -->\nafter\n")
    assert "| b | fox-shard | 5.00 | 0.50 | mosquitto | 10.00 |  | 0.50 (missed) | 0.40 |" in text
    found = table.regressions(page, [compared("a", 24.0), compared("b", 5.5), compared("c", 9.0)])
    assert found == ["a, fox-shard beside mosquitto: ratio 2.40, was 2.00"]


def test_each_server_of_ours_and_the_floor_have_tables_of_their_own(page):
    rows = [
        compared("a", 20.0),
        compared("a", 15.0, peer="relay"),
        compared("a", 5.0, server="fox-serve"),
        compared("b", 30.0),
    ]
    table.write(page, rows, {})
    lines = page.read_text().splitlines()
    order = [line.split(" | ")[:3] for line in lines if line.startswith(("| a", "| b"))]
    assert order == [
        ["| a", "fox-shard", "20.00"],
        ["| b", "fox-shard", "30.00"],
        ["| a", "fox-serve", "5.00"],
        ["| a", "fox-shard", "15.00"],
    ]
    found = table.regressions(page, [compared("a", 9.0, server="fox-serve")])
    assert found == ["a, fox-serve beside mosquitto: ratio 0.90, was 0.50"]


def test_a_table_that_is_written_again_replaces_the_last_one(page):
    table.write(page, [compared("a", 20.0)], {})
    table.write(page, [compared("b", 20.0)], {})
    assert "| a |" not in page.read_text()
    assert page.read_text().count("| b |") == 1


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path):
    (tmp_path / "bench.md").write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        table.write(tmp_path / "bench.md", [], {})
