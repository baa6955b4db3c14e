"""Those who publish keys of their own, again and again, whatever happens to their gateways.

Owns: what is published, and telling the ledger. Never: judging.
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
"""Publishes of one writer that may be under way."""

PACE = 0.01
"""Seconds between two bursts of a writer, on average."""

NEW_KEY, ERASE, PLAIN = 0.3, 0.35, 0.45
"""Shares, summed up: of publishes to a new key, of those that erase one, of plain ones."""

PATIENCE = 40.0
"""Seconds for an answer, once all processes are well."""


class Writer:
    """how: `wamp`, or an MQTT quality of service."""

    def __init__(self, name: str, how: str, ledger: Ledger, door: Door, rng: Random) -> None:
        self.account: Account = ledger.open(name, how)
        self.refused: list[str] = []
        self.connections = 0
        self._door = door
        self._rng = rng
        self._keys: list[str] = []
        self._stopping = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`, and until all that is under way has been answered."""
        while not self._stopping:
            make: type[Any] = Wamp if self.account.how == "wamp" else Mqtt
            peer, until = await self._door.move(make, self.account.writer, self._rng)
            self.connections += 1
            peer.lost.add_done_callback(lambda _: self._changed.set())
            await self._publish(peer, until)
            async with asyncio.timeout(PATIENCE):
                while peer.under_way:
                    await self._next_change()
            await self._door.leave(peer)

    def stop(self) -> None:
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
