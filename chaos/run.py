"""A run: rounds of load and accidents, each followed by checks.

Owns: the clients, the order of events, which checks are made. Never: clients' behaviour.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from random import Random
from typing import Any, NamedTuple

from chaos.broker import Broker, until
from chaos.calls import Callee, Caller
from chaos.door import Door
from chaos.greedy import Greedy
from chaos.havoc import Havoc
from chaos.ledger import Ledger, Watch
from chaos.locks import Hold, Locker, judge_holds
from chaos.payments import REDUCERS, Payer, Payments, judge_payments
from chaos.peers import CALL, Mqtt, Peer, Refused, Wamp
from chaos.readers import read_mqtt, read_wamp, watch
from chaos.tables import Seller, define, judge_totals
from chaos.writers import Writer

ROUND = 20.0
"""Seconds of load in a round, about."""

WRITERS = ("wamp", "wamp", "wamp", "mqtt 1", "mqtt 1", "mqtt 2", "mqtt 2")
"""Protocol of each writer, for MQTT with the quality of service."""

WATCHERS = (None, 1, 2)
"""MQTT quality of service of each watcher; None: WAMP."""

PAYERS = ("wamp", "mqtt 1", "mqtt 2")
"""The same of each payer."""

CALLEES, CALLERS, LOCKERS, SELLERS = 2, 3, 4, 3

GREEDY = 2
"""Greedy clients at a time."""

SETTLED = 60.0
"""Seconds within which the session registry must be up to date."""


DONE = 120.0
"""Seconds within which the clients must have done what a round wants of them."""


class Work(NamedTuple):
    """What must have been done before the load of a round ends, however slow the machine is.

    publishes: acknowledged ones. locks: holds of them. amounts: acknowledged payments.
    """

    accidents: int = 0
    publishes: int = 0
    locks: int = 0
    amounts: int = 0


NOTHING = Work()


class Summary(NamedTuple):
    """The result of a run. complaints: empty if all is well. log: the accidents."""

    seed: int
    complaints: list[str]
    counts: dict[str, Any]
    log: list[str]

    def __str__(self) -> str:
        parts = [f"{name}: {value}" for name, value in self.counts.items()]
        return "\n".join((f"seed {self.seed}", *parts))


class _Run:
    """The clients, the accidents and the results of one run."""

    def __init__(self, broker: Broker, seed: int, greedy: int) -> None:
        self.broker = broker
        self.greedy = greedy
        self.greedy_done: Counter[str] = Counter()
        self.rng = Random(seed)
        self.door = Door(broker)
        self.ledger = Ledger()
        self.havoc = Havoc(broker, self._chance(), self.door.now)
        self.complaints: list[str] = []
        self.calls: Counter[str] = Counter()
        self.sales: Counter[str] = Counter()
        self.payments = Payments()
        self.paid: Counter[str] = Counter()
        self.longest_call = 0.0
        self.holds: list[Hold] = []
        self.events = self.repeated = self.refused = self.connections = 0

    def _chance(self) -> Random:
        return Random(self.rng.random())

    async def round(self, number: int, seconds: float, least: Work) -> None:
        """Run and check one round.

        Each gateway in turn is spared for a round, and has the watchers; then comes a round in
        which no process is spared and nothing is watched.
        """
        gateways = self.broker.gateways
        spared = [*gateways, None][number % (len(gateways) + 1)]
        async with AsyncExitStack() as stack:
            watches = await self._watch(number, spared) if spared else []
            writers = [
                Writer(f"r{number}w{n}", how, self.ledger, self.door, self._chance())
                for n, how in enumerate(WRITERS)
            ]
            callers = [Caller(self.door, self._chance()) for _ in range(CALLERS)]
            lockers = [Locker(self.door, self._chance()) for _ in range(LOCKERS)]
            callees = [Callee(self.door, self._chance()) for _ in range(CALLEES)]
            greedy = [Greedy(self.broker, self._chance()) for _ in range(self.greedy)]
            callee_tasks = [asyncio.create_task(callee.run()) for callee in callees]
            stack.callback(lambda: [task.cancel() for task in callee_tasks])
            sellers = [Seller(self.door, self._chance()) for _ in range(SELLERS)]
            payers = [
                Payer(f"r{number}p{n}", how, self.payments, self.door, self._chance())
                for n, how in enumerate(PAYERS)
            ]
            active: list[Writer | Caller | Locker | Seller | Payer | Greedy] = [
                *writers,
                *callers,
                *lockers,
                *sellers,
                *payers,
                *greedy,
            ]
            async with asyncio.TaskGroup() as group:
                for one in active:
                    group.create_task(one.run())
                await self._disturb(spared, seconds, least, lockers, payers)
                for one in active:
                    one.stop()
        await self._judge_watches(watches, writers)
        self._take(writers, callers, lockers)
        self._take_sums(sellers, payers)
        for one in greedy:
            self.greedy_done += one.done
        await self._judge_keys()
        self.complaints += await judge_totals(self.door, spared or gateways[0])
        self.complaints += await judge_payments(self.door, spared or gateways[0], self.payments)
        await self._judge_sessions(spared or gateways[0])
        for peer in self.door.living():
            await self.door.leave(peer)
        self.complaints += self.door.complaints

    async def _disturb(
        self,
        spared: str | None,
        seconds: float,
        least: Work,
        lockers: list[Locker],
        payers: list[Payer],
    ) -> None:
        """Cause accidents, and wait until the clients have done as much as is wanted."""
        publishes = self.ledger.acknowledged + least.publishes

        def done() -> bool:
            return (
                self.ledger.acknowledged >= publishes
                and sum(len(locker.holds) for locker in lockers) >= least.locks
                and sum(payer.ends["acknowledged"] for payer in payers) >= least.amounts
            )

        await self.havoc.run(spared, seconds, least.accidents, lambda: self.ledger.acknowledged)
        await until(f"{least} are done", done, DONE)

    async def _watch(self, number: int, gateway: str) -> list[tuple[Watch, Peer]]:
        return [
            await watch(self.door, self.ledger, gateway, f"r{number}watcher{n}", qos)
            for n, qos in enumerate(WATCHERS)
        ]

    def _take(self, writers: list[Writer], callers: list[Caller], lockers: list[Locker]) -> None:
        for locker in lockers:
            self.holds += locker.holds
            self.complaints += locker.complaints
        self.complaints += judge_holds(self.holds)
        for writer in writers:
            self.connections += writer.connections
            self.refused += len(writer.refused)
            self.complaints += writer.complaints
            self.complaints += [f"a publish was refused: {why}" for why in set(writer.refused)]
        for caller in callers:
            self.calls += caller.ends
            self.longest_call = max(self.longest_call, caller.longest)
            self.complaints += caller.complaints

    def _take_sums(self, sellers: list[Seller], payers: list[Payer]) -> None:
        for seller in sellers:
            self.sales += seller.ends
            self.complaints += seller.complaints
        for payer in payers:
            self.paid += payer.ends
            self.complaints += payer.complaints

    async def _judge_watches(
        self, watches: list[tuple[Watch, Peer]], writers: list[Writer]
    ) -> None:
        """Check the watchers once they have read the acknowledged events from their sockets."""
        names = [writer.account.writer for writer in writers]
        for watching, peer in watches:
            if peer.lost.done():
                self.complaints.append(f"{watching.name}: lost its connection")
            await self._read_on(watching, names)
            self.complaints += watching.judge(names)
            self.events += watching.events
            self.repeated += watching.repeated

    async def _read_on(self, watching: Watch, names: list[str]) -> None:
        """Wait until no event is missing, at most 30 seconds."""
        end = asyncio.get_running_loop().time() + 30
        while asyncio.get_running_loop().time() < end:
            if sum(1 for _ in watching.judge(names)) == len(watching.complaints):
                return
            await asyncio.sleep(0.1)

    async def _judge_keys(self) -> None:
        for gateway in self.broker.gateways:
            found = await read_wamp(self.door, gateway)
            self.complaints += self.ledger.judge_keys(f"WAMP at {gateway}", found)
            found = await read_mqtt(self.door, gateway, len(found))
            self.complaints += self.ledger.judge_keys(f"MQTT at {gateway}", found)
        self.complaints += self.ledger.judge_ids()

    async def _judge_sessions(self, gateway: str) -> None:
        """Check that the session registry soon has exactly the sessions that are connected."""
        asking = await self.door.enter(Wamp, "", gateway)
        end = asyncio.get_running_loop().time() + SETTLED
        while complaint := await self._compare_sessions(asking):
            if asyncio.get_running_loop().time() > end:
                self.complaints.append(complaint)
                return
            await asyncio.sleep(0.1)

    async def _compare_sessions(self, asking: Wamp) -> str:
        living = self.door.living()
        try:
            listed = (await asking.request(CALL, {}, "wamp.session.list"))[3][0]
            count = (await asking.request(CALL, {}, "wamp.session.count"))[3][0]
            got = [
                (await asking.request(CALL, {}, "wamp.session.get", [one]))[3][0] for one in listed
            ]
        except Refused as error:
            return f"the registry answers {error}"
        ids = {peer.session for peer in living if isinstance(peer, Wamp)}
        clients = {peer.client_id for peer in living if isinstance(peer, Mqtt)}
        found_clients = [one["authid"] for one in got if one["session"] not in ids]
        if (
            ids <= set(listed)
            and sorted(clients) == sorted(found_clients)
            and count == len(listed) == len(living)
        ):
            return ""
        missing = sorted(ids - set(listed)), sorted(clients - set(found_clients))
        extra = sorted(set(found_clients) - clients)
        return (
            f"the registry has {count} sessions (listed {len(listed)}), and there are "
            f"{len(living)}; missing {missing}; not there: {extra}"
        )


async def run(
    seconds: float,
    seed: int,
    gateways: int = 2,
    shards: int = 2,
    greedy: int = GREEDY,
    least: Work = NOTHING,
) -> Summary:
    """Run the test. seconds: of load, in all rounds together. greedy: clients at a time.

    least: what is done in each round, even if that takes longer.

    The broker's folder is kept if there are complaints.
    """
    broker = Broker(gateways, shards, REDUCERS)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await broker.start()
    current = _Run(broker, seed, greedy)
    loop.set_exception_handler(
        lambda _, context: current.complaints.append(f"a client failed: {context}")
    )
    rounds = max(1, round(seconds / ROUND))
    done = 0
    try:
        await define(current.door)
        for number in range(rounds):
            await current.round(number, seconds / rounds, least)
            done += 1
            if current.complaints:
                break
    except Exception as error:  # noqa: BLE001 - becomes a complaint
        current.complaints.append(f"round {done}: {_all_of(error)}")
    finally:
        current.complaints += await broker.stop()
    current.complaints += _bad_exits(broker) + broker.complaints()
    slowest = broker.slowest()
    if current.complaints:
        current.complaints.append(f"logs and data are in {broker.folder}")
    else:
        broker.remove()
    back = sorted(current.havoc.back)
    counts = {
        "accidents": current.havoc.accidents,
        "of them": dict(sorted(current.havoc.counts.items())),
        "well again after": f"median {back[len(back) // 2]:.2f} s, longest {back[-1]:.2f} s"
        if back
        else "-",
        "publishes acknowledged": current.ledger.acknowledged,
        "keys": current.ledger.keys,
        "writers' connections": current.connections,
        "events watched": current.events,
        "plain events that came again": current.repeated,
        "locks held": len(current.holds),
        "rows published": dict(current.sales),
        "amounts folded": dict(current.paid),
        "calls": dict(current.calls),
        "longest call": f"{current.longest_call:.2f} s",
        "greedy clients": dict(sorted(current.greedy_done.items())),
        "longest turn": slowest,
        "took": f"{loop.time() - began:.0f} s",
    }
    log = [f"{when:9.3f} {what}" for when, what in current.havoc.told]
    return Summary(seed, current.complaints, counts, log)


def _all_of(error: BaseException) -> str:
    """Describe an error; an exception group by the errors in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_all_of(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _bad_exits(broker: Broker) -> list[str]:
    """Return a complaint for each exit that is neither by SIGKILL or SIGTERM nor with code 0."""
    return [f"{name} ended with {code}" for name, code in broker.exits if code not in (0, -9, -15)]
