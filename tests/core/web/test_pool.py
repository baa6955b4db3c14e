"""Which session a request gets, and when sessions end."""

import asyncio

import pytest

from fox_shard.client.failures import Unreachable
from fox_shard.web.pool import Pool
from fox_shard.web.sessions import LoginRefused, TooManySessions, Visitor

ANN, BOB, EVE = (Visitor("realm1", "192.0.2.7", name) for name in ("ann", "bob", "eve"))


class OneSession:
    def __init__(self, visitor):
        self.visitor, self.is_alive, self.closed = visitor, True, False

    async def close(self):
        self.is_alive, self.closed = False, True


class Opener:
    """Opens sessions as a test says; `gate` holds up those that are opened."""

    def __init__(self):
        self.opened, self.refusal = [], None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, visitor):
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.opened.append(OneSession(visitor))
        return self.opened[-1]


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop whose clock is moved by the test."""

    offset = 0.0

    def time(self):
        return super().time() + self.offset


def run(test, most=10, idle=60.0, age=300.0):
    async def main():
        opener = Opener()
        pool = Pool(opener, most=most, idle=idle, age=age)
        await test(pool, opener)
        await pool.close()
        assert len(pool) == 0
        assert all(session.closed for session in opener.opened)

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(main())


async def later(seconds):
    asyncio.get_running_loop().offset += seconds
    for _ in range(5):
        await asyncio.sleep(0)


def test_requests_of_one_visitor_share_a_session_and_others_do_not():
    async def test(pool, opener):
        async with pool.shared(ANN) as one, pool.shared(ANN) as two, pool.shared(BOB) as other:
            assert one is two is not other
        async with pool.shared(ANN) as again:
            assert again is one
        async with pool.own(ANN) as own, pool.own(ANN) as another:
            assert len({id(one), id(own), id(another)}) == 3
        assert [session.visitor for session in opener.opened] == [ANN, BOB, ANN, ANN]

    run(test)


def test_those_who_come_at_once_wait_for_one_login():
    async def test(pool, opener):
        opener.gate.clear()

        async def use():
            async with pool.shared(ANN) as session:
                return session

        tasks = [asyncio.create_task(use()) for _ in range(10)]
        await later(0)
        tasks[0].cancel()
        opener.gate.set()
        assert len({id(one) for one in await asyncio.gather(*tasks[1:])}) == len(opener.opened) == 1

    run(test)


@pytest.mark.parametrize("refusal", [LoginRefused("a", "no"), Unreachable("no")])
def test_a_login_that_fails_is_not_kept(refusal):
    async def test(pool, opener):
        opener.refusal = refusal
        for _ in range(2):
            with pytest.raises(type(refusal)):
                async with pool.shared(ANN):
                    pass
            with pytest.raises(type(refusal)):
                async with pool.own(ANN):
                    pass
            assert len(pool) == 0
        opener.refusal = None
        async with pool.shared(ANN):
            assert len(pool) == 1

    run(test)


def test_a_session_that_is_lost_is_replaced():
    async def test(pool, opener):
        async with pool.shared(ANN) as lost:
            lost.is_alive = False
            async with pool.shared(ANN) as session:
                assert session is not lost
            assert not lost.closed
        await later(0)
        assert lost.closed
        assert len(pool) == 1

    run(test)


def test_a_session_without_requests_ends_after_a_while():
    async def test(pool, opener):
        async with pool.shared(ANN):
            await later(100)
            assert len(pool) == 1
        await later(59)
        async with pool.shared(ANN):
            pass
        await later(59)
        assert len(pool) == 1
        await later(2)
        assert len(pool) == 0
        assert opener.opened[0].closed

    run(test)


def test_an_old_session_is_lent_to_nobody_new():
    async def test(pool, opener):
        async with pool.shared(ANN) as old:
            await later(301)
            async with pool.shared(ANN) as new:
                assert new is not old
            assert not old.closed
        await later(0)
        assert old.closed
        assert not new.closed

    run(test)


def test_there_are_no_more_sessions_than_allowed_and_idle_ones_make_room():
    async def test(pool, opener):
        async with pool.shared(ANN), pool.own(ANN):
            for way in (pool.shared, pool.own):
                with pytest.raises(TooManySessions):
                    async with way(BOB):
                        pass
        async with pool.shared(BOB):
            pass
        async with pool.shared(EVE):
            await later(0)
            assert [one.visitor for one in opener.opened if not one.closed] == [BOB, EVE]
            assert len(pool) == 2

    run(test, most=2)
