"""Events as a stream, and where a stream goes on."""

import asyncio

import msgspec
import pytest
from web_sessions import WALL, FakeSessions, key, recorded, request

from fox_shard.client.failures import ConnectionLost, Refused
from fox_shard.topics.ids import EPOCH, MAX_ID, SHARDS, TICKS
from fox_shard.web import make_app
from fox_shard.web.context import Limits
from fox_shard.web.position import SKEW, Position

NOW = int((WALL - EPOCH) * TICKS) * SHARDS


@pytest.fixture
def sessions():
    return FakeSessions()


class Reader:
    """A reader of one stream, which takes as many messages as it is told to."""

    def __init__(self, app, query, **headers):
        self.taken, self.room = [], asyncio.Event()
        self.room.set()
        self.left = asyncio.Event()
        headers = {"host": "127.0.0.1", **headers}
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/events",
            "client": ("192.0.2.7", 1),
            "query_string": query.encode(),
            "headers": [
                (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
            ],
        }
        self.news = asyncio.Condition()
        self.task = asyncio.create_task(app(scope, self.receive, self.send))

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        await self.room.wait()
        async with self.news:
            self.taken.append(message)
            self.news.notify_all()

    async def until(self, condition):
        async with self.news:
            await self.news.wait_for(condition)

    @property
    def text(self):
        return b"".join(one.get("body", b"") for one in self.taken).decode()

    @property
    def events(self):
        """The events: each with its fields."""
        found = []
        for block in self.text.split("\n\n")[:-1]:
            lines = [line.partition(": ") for line in block.split("\n")]
            found.append({name: value for name, _, value in lines if name})
        return found


def run(test):
    async def with_patience():
        async with asyncio.timeout(10):
            await test

    asyncio.run(with_patience())


def test_a_stream_begins_with_now_and_shows_each_event_with_its_id(sessions):
    async def test():
        reader = Reader(make_app(sessions, wall=lambda: WALL), "topic=a")
        await reader.until(lambda: reader.events)
        assert sessions.asked == [("subscribe", "a", {"match": "exact"})]
        sessions.live[0].put_nowait(key("a", 129, 1, "x\ny", unit="K"))
        await reader.until(lambda: len(reader.events) == 2)
        first, event = reader.events
        assert first == {"retry": "1000", "id": str(NOW - SKEW)}
        assert event["id"] == "129"
        assert msgspec.json.decode(event["data"]) == {
            "topic": "a",
            "publication": 129,
            "args": [1, "x\ny"],
            "kwargs": {"unit": "K"},
        }
        assert reader.taken[0]["status"] == 200
        reader.left.set()
        await reader.task
        assert sessions.open == 0

    run(test())


def test_a_stream_goes_on_from_the_last_event_of_each_shard(sessions):
    async def test():
        begin = 1000 * SKEW
        reader = Reader(make_app(sessions), "topic=a&match=prefix", last_event_id=str(begin))
        await reader.until(lambda: reader.events)
        assert sessions.asked == [("subscribe", "a", {"match": "prefix", "after": begin})]
        first, second, third = begin + 64 + 1, begin + 128 + 2, begin + 192 + 1
        for publication in (first, second, third):
            sessions.live[0].put_nowait(recorded("a.b", publication, 1))
        # This one may overtake a recorded one that waits for the disk.
        sessions.live[0].put_nowait(key("a.c", begin + 256 + 1, 1))
        await reader.until(lambda: len(reader.events) == 5)
        assert reader.events[-1]["id"] == f"{begin}.{second}.{third}"
        again = Reader(make_app(sessions), "topic=a", last_event_id=reader.events[-1]["id"])
        await again.until(lambda: again.events)
        after = sessions.asked[1][2]["after"]
        assert len(after) == len({one % SHARDS for one in after}) == SHARDS
        assert {second, third} < set(after)
        assert sorted(after)[-3] < begin - SKEW + SHARDS
        for one in (reader, again):
            one.left.set()
            await one.task

    run(test())


def test_a_stream_of_a_pattern_that_began_with_now_may_repeat_but_misses_nothing():
    position = Position.at(WALL, exact=False)
    position.read(500 * SKEW, recorded=False)
    position.read(400 * SKEW + 1, recorded=False)
    assert Position.parse(str(position)).after() == 499 * SKEW


def test_a_clock_that_is_ahead_counts_only_until_the_first_event():
    position = Position.at(WALL, exact=True)
    position.read(129, recorded=False)
    assert Position.parse(str(position)).after() == 129


@pytest.mark.parametrize(
    "text", ["x", "-1", "1.", ".1", "1..2", str(MAX_ID + 1), "1" * 17, "1" + ".1" * 65]
)
def test_a_position_that_is_none_is_refused(sessions, text):
    for query, headers in ((f"&after={text}", {}), ("", {"last-event-id": text})):
        answer = request(sessions, "GET", f"/api/events?topic=a{query}", headers=headers)
        assert answer.status_code == 400
    assert sessions.asked == []


def test_a_gap_is_told_in_the_stream(sessions):
    def refuse(_topic, options):
        if options["after"] == 64:
            return Refused("fox.error.history_gap", ["gone"], {"oldest": 1024})
        return None

    async def test():
        sessions.answers["subscribe"] = refuse
        reader = Reader(make_app(sessions), "topic=a&after=64")
        await reader.until(lambda: reader.events)
        assert reader.events[0]["event"] == "gap"
        assert reader.events[0]["data"] == '{"oldest":1024}'
        assert [asked[2]["after"] for asked in sessions.asked] == [64, 1023]
        reader.left.set()
        await reader.task

    run(test())


def test_keys_and_their_changes_are_a_stream_too(sessions):
    async def test():
        reader = Reader(make_app(sessions), 'topic=a&retained=true&filter={"on":true}')
        await reader.until(lambda: reader.events)
        options = {"match": "exact", "filter": {"on": True}, "retained": True}
        assert sessions.asked == [("subscribe", "a", options)]
        sessions.live[0].put_nowait(key("a", 129, removed="expired"))
        await reader.until(lambda: len(reader.events) == 2)
        assert "id" not in reader.text.replace("unid", "")
        assert msgspec.json.decode(reader.events[1]["data"])["removed"] == "expired"
        reader.left.set()
        await reader.task

    run(test())


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?topic=a&match=x", 400),
        ("?topic=a&retained=1", 400),
        ("?topic=a&filter=1", 400),
        ("?topic=a", 403),
    ],
)
def test_a_stream_that_is_refused_does_not_begin(sessions, query, status):
    sessions.answers["subscribe"] = Refused("wamp.error.not_authorized", ["no"])
    answer = request(sessions, "GET", f"/api/events{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert sessions.open == 0


def test_a_stream_whose_session_is_lost_says_so_and_ends(sessions):
    async def test():
        reader = Reader(make_app(sessions), "topic=a")
        await reader.until(lambda: reader.events)
        sessions.live[0].put_nowait(ConnectionLost("secret"))
        await reader.task
        assert reader.events[-1]["event"] == "end"
        assert "secret" not in reader.text
        assert reader.taken[-1]["more_body"] is False
        assert sessions.open == 0

    run(test())


def test_streams_end_when_the_server_does(sessions):
    async def test():
        app = make_app(sessions)
        reader = Reader(app, "topic=a")
        await reader.until(lambda: reader.events)
        assert app.streams == 1
        app.end_streams()
        await reader.task
        assert (app.streams, sessions.open) == (0, 0)
        assert reader.taken[-1]["more_body"] is False
        late = Reader(app, "topic=a")
        await late.task
        assert late.taken[0]["status"] == 503

    run(test())


def test_a_reader_that_takes_nothing_is_given_up_and_others_go_on(sessions):
    async def test():
        app = make_app(sessions, Limits(slow_timeout=0.05))
        slow, quick = Reader(app, "topic=a"), Reader(app, "topic=a")
        for reader in (slow, quick):
            await reader.until(lambda reader=reader: reader.events)
        slow.room.clear()
        for queue in sessions.live:
            queue.put_nowait(key("a", 129, 1))
        await slow.task
        await quick.until(lambda: len(quick.events) == 2)
        assert app.streams == 1
        quick.left.set()
        await quick.task

    run(test())


def test_streams_are_limited(sessions):
    async def test():
        app = make_app(sessions, Limits(streams=3, streams_per_address=1))
        first, second = Reader(app, "topic=a"), Reader(app, "topic=a")
        await second.task
        assert second.taken[0]["status"] == 429
        first.left.set()
        await first.task
        third = Reader(app, "topic=a")
        await third.until(lambda: third.events)
        third.left.set()
        await third.task

    run(test())
