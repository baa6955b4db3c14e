"""fox top: the picture fits into the terminal."""

import pytest

from fox_shard.top.picture import cells, picture_of, short, size, span, text_of
from fox_shard.top.snapshot import Process, Rates, Realm, Snapshot


def snapshot(processes=5, realms=1, **more):
    names = [f"gateway-{number}" for number in range(processes)]
    about = {
        "status": "unavailable",
        "cores": 0.97,
        "memory": 123 << 20,
        "uptime": 86400.0,
        "sessions": 12345,
        "keys": 123456,
        "queued": 12,
        "unread": 1 << 20,
        "unhandled": 1 << 21,
    }
    return Snapshot(
        at=0.0,
        processes=[Process(name=name, pid=n, **about) for n, name in enumerate(names, 1)],
        realms=[Realm(f"realm{number}", Rates(publishes=1234.5)) for number in range(realms)],
        rates=Rates(),
        sessions=3,
        keys=4,
        slow_clients=0,
        **more,
    )


def lines_of(shown, width=80, height=24):
    lines = picture_of(shown, "run", width=width, height=height, sort="name")
    return [text_of(line) for line in lines]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (40, 8), (1, 1), (200, 3)])
@pytest.mark.parametrize(("processes", "realms"), [(1, 0), (5, 1), (100, 300)])
def test_a_picture_has_the_height_of_the_terminal_and_is_no_wider(width, height, processes, realms):
    lines = lines_of(snapshot(processes, realms), width, height)
    assert len(lines) == height
    assert max(map(cells, lines)) <= width


def test_everything_of_a_process_stands_in_80_columns():
    head = next(line for line in lines_of(snapshot()) if line.startswith("PROCESS"))
    assert head.split()[-1] == "LINKS"
    row = next(line for line in lines_of(snapshot()) if line.startswith("gateway-0"))
    assert row.split() == (
        ["gateway-0", "unavailable", "97%", "123M", "1d", "0", "12k", "123k", "12", "1.0M", "2.0M"]
    )


def test_what_does_not_fit_is_counted():
    lines = lines_of(snapshot(30, 30))
    assert [line for line in lines if line.startswith("…")] == ["… 22 more", "… 24 more"]


def test_processes_get_what_realms_do_not_need():
    lines = lines_of(snapshot(13, 1))
    assert sum(line.startswith("gateway-") for line in lines) == 13


def test_names_of_realms_cannot_write_to_the_terminal():
    shown = snapshot(1, 0)
    shown.realms.append(Realm("a\x1b[2J\n", Rates()))
    assert '"a\\u001b[2J\\n"' in "\n".join(lines_of(shown))


def test_wide_characters_count_as_two_columns():
    shown = snapshot(1, 0)
    shown.realms.extend([Realm("日本", Rates()), Realm("abcd", Rates())])
    lines = [line for line in lines_of(shown, 120) if line.startswith(("日本", "abcd"))]
    assert cells(lines[0]) == cells(lines[1])


def test_trouble_and_shortages_stand_above():
    shown = snapshot(1, 0, sentences=["All shards are busy."])
    shown.processes[0].trouble.append("not linked to shard-0")
    lines = lines_of(shown)
    assert lines[3:5] == ["gateway-0: not linked to shard-0", "All shards are busy."]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.25, "0.2"), (9.96, "10.0"), (950, "950"), (999.7, "1.0k"), (12345, "12k")],
)
def test_numbers_are_short(number, text):
    assert short(number) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (1023, "1.0K"), (1 << 20, "1.0M")])
def test_sizes_are_short(count, text):
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(4.2, "4s"), (61, "1m"), (7200, "2h"), (1e6, "12d")])
def test_times_are_short(seconds, text):
    assert span(seconds) == text
