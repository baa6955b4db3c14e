"""Writers: clients that publish keys of their own, reconnecting whenever their gateways die.

Owns: publishing, and recording that in the ledger. Never: the checks (see `ledger`).
"""

import asyncio
from functools import partial
from random import Random
from typing import Any

import msgspec

from chaos.door import Door
from chaos.ledger import PREFIX, Account, Kind, Ledger, Mark, Operation, payload
from chaos.peers import PUBLISH, Answer, Lost, Mqtt, Refused, Wamp

WINDOW = 8
"""Publishes of one writer that may be unanswered."""

PACE = 0.01
"""Average number of seconds between two bursts of a writer."""

NEW_KEY, ERASE, PLAIN = 0.3, 0.35, 0.45
"""Cumulative shares of the publishes to a new key, of those that erase a key, and of plain ones;
the others change a key."""

PATIENCE = 40.0
"""Seconds within which the remaining publishes must be answered when a writer pauses."""


class Writer:
    """One writer. refused: the error URIs of refused publishes."""

    def __init__(self, name: str, how: str, ledger: Ledger, door: Door, rng: Random) -> None:
        """how: `wamp`, or `mqtt` and the quality of service."""
        self.account: Account = ledger.open(name, how)
        self.refused: list[str] = []
        self.complaints: list[str] = []
        self.connections = 0
        self._door = door
        self._rng = rng
        self._keys: list[str] = []
        self._stopping = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Publish until `stop`, and until all publishes have been answered or lost."""
        while not self._stopping:
            make: type[Any] = Wamp if self.account.how == "wamp" else Mqtt
            peer, until = await self._door.move(make, self.account.writer, self._rng)
            self.connections += 1
            peer.lost.add_done_callback(lambda _: self._changed.set())
            await self._publish(peer, until)
            try:
                async with asyncio.timeout(PATIENCE):
                    while peer.under_way:
                        await self._next_change()
            except TimeoutError:
                self.complaints.append(self._unanswered(peer))
            await self._door.leave(peer)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True
        self._changed.set()

    async def _publish(self, peer: Wamp | Mqtt, until: float) -> None:
        while not (self._stopping or peer.lost.done() or self._door.now() > until):
            for _ in range(self._rng.randint(1, WINDOW)):
                if peer.under_way < WINDOW:
                    self._one(peer)
            await asyncio.sleep(self._rng.expovariate(1 / PACE))
            while peer.under_way >= WINDOW and not self._stopping:
                await self._next_change()

    def _unanswered(self, peer: Wamp | Mqtt) -> str:
        """Say which publishes of this connection have not been answered."""
        account, where = self.account, self._door.broker.gateway_of(peer.kind, peer.place)
        lines = [
            account.line(number)
            for number, one in enumerate(account.operations, 1)
            if one.connection == self.connections and one.fate == "unanswered"
        ]
        head = f"{self._door.now():.3f}: {account.writer} at {where} ({peer.under_way} under way)"
        return "\n".join((f"{head} was not answered in {PATIENCE:g} s", *lines))

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _one(self, peer: Wamp | Mqtt) -> None:
        kind, topic = self._choose()
        number = self.account.send(Operation(topic, kind, self.connections, self._door.now()))
        args = [] if kind is Kind.ERASE else payload(
            Mark(self.account.writer, self.connections, number)
        )  # fmt: skip
        retain = kind is not Kind.PLAIN
        if isinstance(peer, Wamp):
            options = {"acknowledge": True, "retain": retain}
            answer = peer.request(PUBLISH, options, topic, args)
        else:
            data = msgspec.json.encode(args) if args else b""
            qos = int(self.account.how[-1])
            answer = peer.publish(topic.replace(".", "/"), data, qos, retain=retain)
        answer.add_done_callback(partial(self._answered, number))

    def _choose(self) -> tuple[Kind, str]:
        chance, name = self._rng.random(), self.account.writer
        if chance < NEW_KEY or not self._keys:
            self._keys.append(f"{PREFIX}.keys.{name}.k{len(self._keys)}")
            return Kind.KEEP, self._keys[-1]
        if chance < ERASE:
            return Kind.ERASE, self._rng.choice(self._keys)
        if chance < PLAIN:
            return Kind.PLAIN, f"{PREFIX}.plain.{name}.p{self._rng.randrange(4)}"
        return Kind.KEEP, self._rng.choice(self._keys)

    def _answered(self, number: int, answer: Answer) -> None:
        self._changed.set()
        error = answer.exception()
        if error is None:
            message = answer.result()
            publication = None if message is None else message[2]
            self.account.acknowledge(number, self._door.now(), publication)
        elif isinstance(error, Refused):
            self.account[number].fate = f"refused ({error})"
            self.refused.append(str(error))
        else:
            assert isinstance(error, Lost)
            self.account[number].fate = "lost with its connection"
