"""The shell around a junction: event loop, time, stores.

Owns: when the joined nodes take their turns, and their transactions' way to the stores and back.
Never: what a node decides; the process and its signals, which belong to the application.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, final

from fox_shard.backplane.usage import NO_USAGE
from fox_shard.embedded.junction import Junction, Outgoing
from fox_shard.runtime.notices import log_notices
from fox_shard.runtime.tick_timer import TickTimer
from fox_shard.runtime.usage import UsageMeter
from fox_shard.store.store import Store

if TYPE_CHECKING:
    from fox_shard.runtime.tracing import Tracing


class Outside(Protocol):
    """The connections to processes beside this one."""

    def start(self) -> None:
        """Begin to read."""

    def send(self, outgoing: Outgoing) -> None:
        """Send a batch, or say at once that this is not possible now."""

    def forget(self, name: str, peer: str) -> None:
        """Forget the connection of a node to a peer that is gone for good."""

    def read_on(self) -> bool:
        """Read what the event loop would not notice; return whether there is more."""

    def stop(self) -> None:
        """Close all."""


@final
class JunctionShell:
    """Runs joined nodes in the running event loop, from `start` to `stop`.

    after_turn: called at the end of each turn, before the notices are logged. on_failure: called
    with an exception that nobody expected, after which the nodes take no further turn, because
    their state can no longer be trusted.
    """

    def __init__(
        self,
        junction: Junction,
        stores: Mapping[str, Store],
        report_interval: float,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        tracings: "Iterable[Tracing]" = (),
    ) -> None:
        """stores: of the nodes that have journals, by name, with `committed` as `on_outcome`.

        report_interval: seconds between two reports to the coordinator; 0: nobody wants them.
        wall: returns seconds since 1970. clock: returns monotonic seconds, as the loop does, which
        may be less exact. tracings: of nodes.
        """
        # Set before `start`, if there is any.
        self.outside: Outside | None = None
        self._wall, self._clock = wall, clock
        self._junction = junction
        self._stores = dict(stores)
        self._report_interval = report_interval
        self._usage = UsageMeter()
        self._tracings = [*tracings]
        self._loop = asyncio.get_running_loop()
        self._journals = {
            node.name: node.journal for node in junction.nodes if node.journal is not None
        }
        self.after_turn: Callable[[], None] = lambda: None
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self._scheduled = False
        self._stopped = False
        self._timer = TickTimer(self._loop, self._tick)
        self._reports: asyncio.TimerHandle | None = None
        # Set at the end of each turn.
        self._turned = asyncio.Event()

    def start(self) -> None:
        """Begin to turn."""
        for tracing in self._tracings:
            self.after_turn = tracing.behind(self.after_turn)
        if self.outside is not None:
            self.outside.start()
        self._tick()
        if self._report_interval:
            self._report_later()

    def schedule(self, name: str) -> None:
        """Let the node of that name take part in a turn, soon."""
        self._junction.stir(name)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def committed(self, name: str, ticket: int, why: str) -> None:
        """Pass on the outcome of a transaction (see `OnOutcome`); from any thread."""
        self._loop.call_soon_threadsafe(self._committed, name, ticket, why)

    def _committed(self, name: str, ticket: int, why: str) -> None:
        self._guard(lambda: self._journals[name].outcome(ticket, why, self._clock()))
        self.schedule(name)

    def _guard(self, action: Callable[[], object]) -> None:
        """Do something with the nodes. What it raises ends all turns."""
        if self._stopped:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the nodes cannot be trusted
            self._stopped = True
            self._turned.set()
            self.on_failure(error)

    def _turn(self) -> None:
        self._scheduled = False
        self._guard(self._take_turn)

    def _take_turn(self) -> None:
        now = self._clock()
        for name, write in self._junction.turn(now, self._wall()):
            store = self._stores.get(name)
            if store is not None:
                store.write(write.ticket, write.changes, resume=write.resume)
        if self.outside is not None:
            self._send(self.outside)
        self.after_turn()
        for node in self._junction.nodes:
            if node.notices:
                log_notices(node)
        if self._junction.busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)
        self._turned.set()
        self._timer.arm(self._junction.due, now)

    def _send(self, outside: Outside) -> None:
        outgoing = self._junction.outgoing
        for batch in outgoing:
            outside.send(batch)
        outgoing.clear()
        for node in self._junction.nodes:
            for peer in node.forgotten:
                outside.forget(node.name, peer)
            node.forgotten.clear()
        if outside.read_on() and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def guard(self, action: Callable[[], object]) -> None:
        """Do something with the nodes, and let a turn follow. What it raises ends all turns."""
        self._guard(action)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _tick(self) -> None:
        self._guard(lambda: self._junction.tick(self._clock()))
        self._turn()

    def _report_later(self) -> None:
        self._reports = self._loop.call_later(self._report_interval, self._report)

    def _report(self) -> None:
        # What the process needs is reported once, by the first node.
        usage = self._usage.take()
        for node in self._junction.nodes:
            self._guard(partial(node.send_report, self._clock(), usage))
            self.schedule(node.name)
            usage = NO_USAGE
        self._report_later()

    # The end

    async def settle(self, limit: float) -> None:
        """Go on until all is handled and on the disk, but no longer than `limit` seconds."""
        for journal in self._journals.values():
            journal.interval = 0.0
        for node in self._junction.nodes:
            self.schedule(node.name)
        try:
            async with asyncio.timeout(limit):
                while not (self._stopped or self._is_settled()):
                    self._turned.clear()
                    await self._turned.wait()
        except TimeoutError:
            pass

    def _is_settled(self) -> bool:
        idle = all(journal.idle for journal in self._journals.values())
        return idle and not (self._scheduled or self._junction.busy)

    async def stop(self) -> None:
        """Write what is left to the stores, tell the nodes what has become of it, and end."""
        stores, self._stores = self._stores, {}
        # Closing waits for the disk; outcomes come as long as it lasts, and then one more turn.
        for store in stores.values():
            await asyncio.to_thread(store.close)
        await asyncio.sleep(0)
        self._stopped = True
        self._timer.cancel()
        if self.outside is not None:
            self.outside.stop()
        if self._reports is not None:
            self._reports.cancel()
        for tracing in self._tracings:
            await asyncio.to_thread(tracing.close)
