"""The engine of a client, with lines that a test cuts: what is sent, once, and what raises."""

import asyncio
import logging

import msgspec
import pytest
from client_cores import EVENT, GOODBYE, HELLO, REGISTER, SUBSCRIBE, SUBSCRIBED, WELCOME

from fox_shard.client import ConnectionLost, LockLost, Refused, Unreachable
from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.realm import Realm

PUBLISH, PUBLISHED, CALL, CANCEL = 16, 17, 48, 49


class Line:
    """One connection. blocked: the router does not read."""

    longest = 1 << 20

    def __init__(self):
        self.sent = asyncio.Queue()
        self.coming = asyncio.Queue()
        self.free = asyncio.Event()
        self.free.set()
        self.closed = False

    async def send(self, data):
        await self.free.wait()
        self.check()
        self.sent.put_nowait(msgspec.msgpack.decode(data))

    async def receive(self):
        self.check()
        data = await self.coming.get()
        self.check()
        return data

    async def close(self):
        self.closed = True

    def check(self):
        if self.closed:
            raise ConnectionLost("The line is cut.")

    def cut(self):
        self.closed = True
        self.coming.put_nowait(b"")
        self.free.set()

    def says(self, *message):
        self.coming.put_nowait(msgspec.msgpack.encode(message))

    async def hears(self, kind):
        """Return the next message of the client, which is of that kind."""
        message = await self.sent.get()
        assert message[0] == kind, message
        return message


class Router:
    """The other end of a realm: its lines, one after the other."""

    def __init__(self):
        self.lines = asyncio.Queue()
        self.unreachable = 0
        core = ClientCore("realm1", None, lambda: 0.0)
        # Tries follow each other at once.
        engine = Engine(core, self.dial, Backoff(lambda: 0.0, first=0.0, most=0.0), 10_000)
        self.realm = Realm(engine)

    async def dial(self):
        if self.unreachable:
            self.unreachable -= 1
            raise Unreachable("Nobody is there.")
        line = Line()
        self.lines.put_nowait(line)
        return line

    async def joined(self, session=1):
        """Return the next line, on which the client has joined."""
        line = await self.lines.get()
        await line.hears(HELLO)
        line.says(WELCOME, session, {})
        await self.realm._engine.ready()
        return line


def with_router(test):
    """Run a test with a router and the first line; then the client stops."""

    def run():
        async def play():
            async with asyncio.timeout(30):
                router = Router()
                router.realm._engine.begin()
                line = await router.joined()
                try:
                    await test(router, router.realm, line)
                finally:
                    await router.realm.stop(leaves=False)
                assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(play())

    run.__name__ = test.__name__
    return run


@with_router
async def test_an_acknowledged_publish_waits_for_the_router(router, realm, line):
    publishing = asyncio.create_task(realm.publish("com.a", [1], acknowledge=True))
    _, request, options, topic, args = await line.hears(PUBLISH)
    assert (options, topic, args) == ({"acknowledge": True}, "com.a", [1])
    line.says(PUBLISHED, request, 640)
    assert await publishing == 640


def test_what_was_not_sent_in_its_session_is_not_sent_later(caplog):
    @with_router
    async def play(router, realm, line):
        line.free.clear()
        await realm.publish("com.a", [1])
        publishing = asyncio.create_task(realm.publish("com.a", [1], acknowledge=True))
        await asyncio.sleep(0)
        line.cut()
        with pytest.raises(ConnectionLost):
            await publishing
        again = await router.joined(2)
        await realm.publish("com.b", [2])
        assert (await again.hears(PUBLISH))[3] == "com.b"
        assert "2 messages were not sent any more." in caplog.text

    play()


def test_an_answer_to_goodbye_that_the_router_does_not_wait_for_is_not_missed(caplog):
    @with_router
    async def play(router, realm, line):
        line.free.clear()
        line.says(GOODBYE, {}, "wamp.close.system_shutdown")
        await asyncio.sleep(0)
        line.cut()
        await router.joined(2)
        assert "system_shutdown" in caplog.text
        assert "not sent any more" not in caplog.text

    play()


@with_router
async def test_a_program_waits_while_much_is_to_be_sent(router, realm, line):
    line.free.clear()

    async def publish():
        for _ in range(10):
            await realm.publish("com.a", ["x" * 100_000])

    publishing = asyncio.create_task(publish())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not publishing.done()
    assert realm._engine._unsent < 400_000
    line.free.set()
    await publishing


@with_router
async def test_what_is_asked_for_without_a_session_waits_for_the_next_one(router, realm, line):
    router.unreachable = 3
    line.cut()
    while realm.session:  # noqa: ASYNC110 - no event is set when it becomes true
        await asyncio.sleep(0)
    publishing = asyncio.create_task(realm.publish("com.a", [1]))
    again = await router.joined(2)
    await publishing
    assert (await again.hears(PUBLISH))[3] == "com.a"


@with_router
async def test_a_canceled_task_cancels_its_call(router, realm, line):
    calling = asyncio.create_task(realm.call("com.p"))
    _, request, *_ = await line.hears(CALL)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await line.hears(CANCEL))[1] == request


@with_router
async def test_a_session_that_the_router_ends_is_followed_by_another_one(router, realm, line):
    registering = asyncio.create_task(realm.register("com.p", lambda: 1))
    _, request, *_ = await line.hears(REGISTER)
    line.says(65, request, 33)
    await registering
    line.says(GOODBYE, {"message": "killed"}, "wamp.close.killed")
    await line.hears(GOODBYE)
    again = await router.joined(2)
    await again.hears(REGISTER)
    assert realm.session == 2


def test_a_program_that_may_not_join_is_told_and_does_not_try_again():
    async def play():
        router = Router()
        starting = asyncio.create_task(router.realm.start())
        line = await router.lines.get()
        await line.hears(HELLO)
        line.says(3, {"message": "not today"}, "wamp.error.not_authorized")
        with pytest.raises(Unreachable, match="not today"):
            await starting
        with pytest.raises(Unreachable, match="not today"):
            await router.realm.publish("com.a")
        assert router.realm.over
        assert router.lines.empty()
        await router.realm.stop()

    asyncio.run(play())


def test_a_router_that_speaks_nonsense_is_left_with_a_sentence(caplog):
    @with_router
    async def play(router, realm, line):
        line.coming.put_nowait(b"\xc1")
        await router.joined(2)
        assert "what is no message" in caplog.text

    with caplog.at_level(logging.WARNING):
        play()


async def take_lock(realm, line, token):
    """Begin to hold a lock; return the task and the router's id of its subscription."""
    entered = asyncio.Event()

    async def hold():
        async with realm.lock("com.lock", "me") as found:
            assert found == token
            entered.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    _, request, options, _ = await line.hears(SUBSCRIBE)
    assert options == {"retained": True}
    line.says(SUBSCRIBED, request, 11)
    _, request, options, *_ = await line.hears(PUBLISH)
    assert options["when"] is None
    line.says(PUBLISHED, request, token)
    await entered.wait()
    return holding


@with_router
async def test_a_lock_is_lost_when_its_key_changes_after_it_was_ours(router, realm, line):
    holding = await take_lock(realm, line, 640)
    line.says(EVENT, 11, 576, {"topic": "com.lock", "removed": "weak"})
    line.says(EVENT, 11, 640, {"topic": "com.lock"}, ["me"])
    await asyncio.sleep(0)
    line.says(EVENT, 11, 704, {"topic": "com.lock"}, ["you"])
    with pytest.raises(LockLost, match="Somebody has published there"):
        await holding


@with_router
async def test_a_lock_is_lost_with_its_session(router, realm, line):
    holding = await take_lock(realm, line, 640)
    line.cut()
    with pytest.raises(LockLost, match="The line is cut"):
        await holding


@with_router
async def test_a_block_that_others_cancel_is_canceled_and_releases_its_lock(router, realm, line):
    holding = await take_lock(realm, line, 640)
    holding.cancel()
    while (message := await line.sent.get())[0] != PUBLISH:
        pass
    assert message[2] == {"acknowledge": True, "retain": True, "when_id": 640}
    line.says(8, PUBLISH, message[1], {}, "fox.error.condition_failed", ["It is gone."])
    with pytest.raises(asyncio.CancelledError):
        await holding


@pytest.mark.parametrize("answer_first", [True, False])
def test_a_lock_that_is_granted_just_when_nobody_waits_any_more_is_released(answer_first):
    @with_router
    async def play(router, realm, line):
        async def hold():
            async with realm.lock("com.lock", "me"):
                raise AssertionError("the block must not begin")

        holding = asyncio.create_task(hold())
        _, request, *_ = await line.hears(SUBSCRIBE)
        line.says(SUBSCRIBED, request, 11)
        _, request, *_ = await line.hears(PUBLISH)
        line.says(PUBLISHED, request, 640)
        if answer_first:
            await asyncio.sleep(0)
        # Otherwise whoever waits is canceled, but has not heard of that when the answer is read.
        holding.cancel()
        while (message := await line.sent.get())[0] != PUBLISH:
            pass
        assert message[2]["when_id"] == 640
        with pytest.raises(asyncio.CancelledError):
            await holding

    play()


@with_router
async def test_a_lock_is_asked_for_again_if_the_session_ends_just_before(router, realm, line):
    async def hold():
        async with realm.lock("com.lock", "me") as token:
            return token

    holding = asyncio.create_task(hold())
    _, request, *_ = await line.hears(SUBSCRIBE)
    # The session ends before the waiting task has seen that it has subscribed.
    line.says(SUBSCRIBED, request, 11)
    line.says(GOODBYE, {}, "wamp.close.system_shutdown")
    line = await router.joined(2)
    _, request, *_ = await line.hears(SUBSCRIBE)
    line.says(SUBSCRIBED, request, 12)
    _, request, *_ = await line.hears(PUBLISH)
    line.says(PUBLISHED, request, 704)
    while (message := await line.sent.get())[0] != PUBLISH:
        pass
    line.says(PUBLISHED, message[1], 768)
    assert await holding == 704


@with_router
async def test_a_lock_that_can_no_longer_be_watched_is_released(router, realm, line):
    holding = await take_lock(realm, line, 640)
    # All at once: what is read message by message, the lock reads in between.
    engine, now = realm._engine, asyncio.get_running_loop().time()
    for number in range(20):
        event = [EVENT, 11, 64 * number, {"topic": "com.lock"}, ["x" * 10_000]]
        engine.perform(engine.core.received(msgspec.msgpack.encode(event), now))
    while (message := await line.sent.get())[0] != PUBLISH:
        pass
    assert message[2]["when_id"] == 640
    with pytest.raises(LockLost, match="too slowly"):
        await holding


@with_router
async def test_a_function_that_yields_is_not_faster_than_the_line(router, realm, line):
    parts = []

    async def count():
        for number in range(3):
            parts.append(number)
            yield number

    registering = asyncio.create_task(realm.register("com.p", count))
    _, request, *_ = await line.hears(REGISTER)
    line.says(65, request, 33)
    await registering
    line.free.clear()
    line.says(68, 1, 33, {"receive_progress": True})
    while not parts:  # noqa: ASYNC110 - no event is set when it becomes true
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert parts == [0]
    line.free.set()
    sent = [await line.hears(70) for _ in range(4)]
    assert [message[2:] for message in sent] == [
        [{"progress": True}, [0]],
        [{"progress": True}, [1]],
        [{"progress": True}, [2]],
        [{}],
    ]


@with_router
async def test_a_refusal_that_cannot_be_sent_is_an_error_all_the_same(router, realm, line):
    def refuse():
        raise Refused("com.example.no", [object()])

    registering = asyncio.create_task(realm.register("com.p", refuse))
    _, request, *_ = await line.hears(REGISTER)
    line.says(65, request, 33)
    await registering
    line.says(68, 1, 33, {})
    _, _, request, _, uri, (text,) = await line.hears(8)
    assert (request, uri) == (1, "wamp.error.runtime_error")
    assert "TypeError" in text


@with_router
async def test_a_function_that_is_canceled_before_it_has_begun_is_answered(router, realm, line):
    begun = []

    async def function():
        begun.append(True)

    registering = asyncio.create_task(realm.register("com.p", function))
    _, request, *_ = await line.hears(REGISTER)
    line.says(65, request, 33)
    await registering
    # The client reads both before a task has its turn.
    line.says(68, 1, 33, {})
    line.says(69, 1, {})
    _, _, request, _, uri, _ = await line.hears(8)
    assert (request, uri) == (1, "wamp.error.canceled")
    assert not begun


def test_a_line_that_fails_in_an_unexpected_way_ends_the_client_and_is_told(caplog):
    async def play():
        router = Router()
        router.realm._engine.begin()
        line = await router.joined()

        async def send(data):
            line.cut()
            raise ZeroDivisionError

        line.send = send
        with pytest.raises(ConnectionLost):
            await router.realm.call("com.p")
        with pytest.raises(ZeroDivisionError):
            await router.realm._engine._task
        with pytest.raises(ConnectionLost):
            await router.realm.publish("com.a")
        assert "ZeroDivisionError" in caplog.text

    asyncio.run(play())
