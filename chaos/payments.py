"""Payers: clients that publish amounts, of which built-in reducers keep the sums.

Owns: publishing amounts, the record of them, and the comparison of the sums with it. Never:
accidents.

Each connection pays to a topic of its own, so that few amounts are unanswered on any topic: its sum
tells whether some amount is missing or counts twice. A second reducer folds the same events into
one key, which is on another shard than half of them.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from random import Random
from typing import Any

import msgspec

from chaos.door import Door
from chaos.peers import PUBLISH, SUBSCRIBE, Answer, Lost, Mqtt, Wamp

PREFIX, TOTAL = "payment", "paid"

REDUCERS = f"""
[[realm.reducer]]
pattern = "{PREFIX}."
match = "prefix"
function = "sum"
field = "amount"

[[realm.reducer]]
pattern = "{PREFIX}."
match = "prefix"
function = "sum"
field = "amount"
destination = "{TOTAL}"
"""
"""The reducers, as sections of the configuration."""

WINDOW = 8
"""Publishes of one payer that may be unanswered, so that 256 sums are possible."""

PACE = 0.01
"""Average number of seconds between two publishes of a payer."""

MOST = 1_000_000_000
"""The greatest amount: so great that one that is missing is hardly the sum of others."""

PATIENCE = 40.0
"""Seconds within which the remaining publishes must be answered, and the sums must be right."""


class Account:
    """What one connection has paid. fates: of the payments without acknowledgement, by number."""

    def __init__(self, payer: str, how: str) -> None:
        self.payer = payer
        self.how = how
        self.amounts: list[int] = []
        self.acknowledged: set[int] = set()
        self.fates: dict[int, str] = {}

    def complaint(self, topic: str, found: object) -> str:
        """Say what is wrong with the sum that the server shows; "" if nothing is. None: no key."""
        if found is not None and type(found) is not int:
            return f"{topic} is {found!r}, and should be an integer"
        open_numbers = [n for n in range(len(self.amounts)) if n not in self.acknowledged]
        paid = sum(self.amounts[number] for number in self.acknowledged)
        possible = {paid}
        for number in open_numbers:
            possible |= {one + self.amounts[number] for one in possible}
        if (found or 0) in possible:
            return ""
        without = [f"#{n} {self.fates.get(n, 'unanswered')}" for n in open_numbers]
        return (
            f"{topic} ({self.payer}, {self.how}) is {found}; the {len(self.acknowledged)} "
            f"acknowledged payments make {paid}, which is {paid - (found or 0)} more; without "
            f"acknowledgement: {', '.join(without) or 'none'}; an explanation: "
            f"{', '.join(self._suspects(found or 0, possible)) or 'no single payment'}"
        )

    def _suspects(self, found: int, possible: set[int]) -> list[str]:
        """Return the payments each of which explains the sum: it counted twice, or not at all."""
        return [
            f"#{number} {amount} ({'twice' if sign > 0 else 'missing'})"
            for number, amount in enumerate(self.amounts)
            for sign in (1, -1)
            if found - sign * amount in possible
        ]


class Payments:
    """The accounts of all connections, by topic."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def open(self, payer: str, how: str, connection: int) -> tuple[str, Account]:
        """Add an account; return its topic, too."""
        topic = f"{PREFIX}.{payer}.{connection}"
        account = self.accounts[topic] = Account(payer, how)
        return topic, account

    def judge(self, keys: Mapping[str, object]) -> Iterator[str]:
        """Yield complaints about the sums. keys: of all accounts, and the total, by topic."""
        for topic, account in self.accounts.items():
            if complaint := account.complaint(topic, keys.get(topic)):
                yield complaint
        for topic in keys.keys() - self.accounts.keys() - {TOTAL}:
            yield f"{topic} is a key, and nobody has paid there"
        # Both reducers fold the same events, so this holds whatever was acknowledged.
        expected = sum(value for topic, value in keys.items() if topic != TOTAL and _number(value))
        if (total := keys.get(TOTAL, 0)) != expected:
            yield f"{TOTAL} is {total}, and the sums of all topics make {expected}"


def _number(value: object) -> bool:
    return type(value) is int


class Payer:
    """One payer, which reconnects whenever its gateway dies. ends: of its publishes, by kind."""

    def __init__(self, name: str, how: str, payments: Payments, door: Door, rng: Random) -> None:
        """how: `wamp`, or `mqtt` and the quality of service."""
        self._name = name
        self._how = how
        self._payments = payments
        self._door = door
        self._rng = rng
        self._stopping = False
        self.ends: Counter[str] = Counter()
        self.complaints: list[str] = []

    async def run(self) -> None:
        """Pay until `stop`, and until all payments have been answered or lost."""
        connections = 0
        while not self._stopping:
            make: type[Any] = Wamp if self._how == "wamp" else Mqtt
            peer, until = await self._door.move(make, self._name, self._rng)
            connections += 1
            topic, account = self._payments.open(self._name, self._how, connections)
            while not (self._stopping or peer.lost.done() or self._door.now() > until):
                if peer.under_way < WINDOW:
                    self._pay(peer, topic, account)
                await asyncio.sleep(self._rng.expovariate(1 / PACE))
            end = self._door.now() + PATIENCE
            while peer.under_way and not peer.lost.done():
                if self._door.now() > end:
                    self.complaints.append(f"{peer.under_way} payments were not answered")
                    break
                await asyncio.sleep(PACE)
            await self._door.leave(peer)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True

    def _pay(self, peer: Wamp | Mqtt, topic: str, account: Account) -> None:
        number, amount = len(account.amounts), self._rng.randint(1, MOST)
        account.amounts.append(amount)
        event = {"amount": amount}
        if isinstance(peer, Wamp):
            answer = peer.request(PUBLISH, {"acknowledge": True}, topic, [event])
        else:
            payload, qos = msgspec.json.encode(event), int(self._how[-1])
            answer = peer.publish(topic.replace(".", "/"), payload, qos, retain=False)
        answer.add_done_callback(partial(self._answered, account, number))

    def _answered(self, account: Account, number: int, answer: Answer) -> None:
        error = answer.exception()
        if error is None:
            account.acknowledged.add(number)
            self.ends["acknowledged"] += 1
        elif isinstance(error, Lost):
            account.fates[number] = "lost"
            self.ends["lost"] += 1
        else:
            account.fates[number] = f"refused ({error})"
            self.ends["refused"] += 1
            self.complaints.append(f"a payment was refused: {error}")


async def judge_payments(door: Door, gateway: str, payments: Payments) -> list[str]:
    """Return a sentence for each sum that is wrong, though nobody has paid anything for long."""
    end = door.now() + PATIENCE
    while True:
        keys = {**await _keys(door, gateway, f"{PREFIX}."), **await _keys(door, gateway, TOTAL)}
        wrong = list(payments.judge(keys))
        if not wrong or door.now() > end:
            return wrong
        await asyncio.sleep(0.2)


async def _keys(door: Door, gateway: str, prefix: str) -> dict[str, object]:
    """Return the keys whose topics have this prefix, each with its only argument."""
    keys: dict[str, object] = {}
    peer = await door.enter(Wamp, "", gateway)
    peer.on_event = lambda event: keys.update({event[3]["topic"]: event[4][0]})
    async with asyncio.timeout(PATIENCE):
        await peer.request(SUBSCRIBE, {"match": "prefix", "snapshot": True}, prefix)
        await peer.revoked.wait()
    await door.leave(peer)
    return keys
