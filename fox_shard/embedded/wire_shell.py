"""The shell around one node with links to other processes, in an application's event loop.

Owns: when the node takes its turns, and its sockets to the other processes. Never: what a node
decides; the process and its signals, which belong to the application.

Time is `time.monotonic`, as the time of uvloop has milliseconds only.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, final

from fox_shard.backplane.frames import Batch
from fox_shard.backplane.node import Node
from fox_shard.backplane.wire import Wire
from fox_shard.runtime.notices import log_notices
from fox_shard.runtime.tick_timer import TickTimer
from fox_shard.runtime.usage import UsageMeter

if TYPE_CHECKING:
    from fox_shard.runtime.tracing import Tracing

_log = logging.getLogger("fox")


@final
class WireShell:
    """Runs a node without a store, which connects to others, in the running event loop.

    after_turn: called at the end of each turn, before the notices are logged. on_failure: called
    with an exception that nobody expected, after which the node takes no further turn, because its
    state can no longer be trusted.
    """

    def __init__(
        self,
        node: Node,
        run_dir: Path,
        incarnation: int,
        connects: Iterable[str],
        report_interval: float,
        tracing: "Tracing | None" = None,
    ) -> None:
        """connects: the processes that the node connects to.

        report_interval: seconds between two reports to the coordinator; 0: nobody wants them.
        tracing: of the node.
        """
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._report_interval = report_interval
        self._usage = UsageMeter()
        self._tracing = tracing
        self.after_turn: Callable[[], None] = lambda: None
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self._scheduled = False
        self._stopped = False
        self._timer = TickTimer(self._loop, self._tick)
        self._reports: asyncio.TimerHandle | None = None
        self._wire = Wire(
            node.name,
            incarnation,
            run_dir,
            listens=False,
            connects=connects,
            on_batch=self._on_batch,
            on_lost=self._on_lost,
            on_garbage=lambda why: _log.error("unreadable_batch", extra={"fox": {"reason": why}}),
        )

    def start(self) -> None:
        """Begin to turn."""
        if self._tracing is not None:
            self.after_turn = self._tracing.behind(self.after_turn)
        for descriptor in self._wire.descriptors:
            self._loop.add_reader(descriptor, self._read, descriptor)
        tap = self._wire.tap
        self._loop.add_reader(tap.fileno(), self._guard, tap.on_readable)
        self._tick()
        if self._report_interval:
            self._report_later()

    def stop(self) -> None:
        """Send what is left, and let go of the sockets."""
        self._turn()
        self._stopped = True
        self._timer.cancel()
        if self._reports is not None:
            self._reports.cancel()
        for descriptor in (*self._wire.descriptors, self._wire.tap.fileno()):
            self._loop.remove_reader(descriptor)
        self._wire.close()

    def schedule_flush(self) -> None:
        """Let the node's turn end soon."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _guard(self, action: Callable[[], object]) -> None:
        """Do something with the node. What it raises ends all turns."""
        if self._stopped:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the node cannot be trusted
            self._stopped = True
            self.on_failure(error)

    def _read(self, descriptor: int) -> None:
        self._guard(partial(self._wire.read, descriptor))
        self.schedule_flush()

    def _on_batch(self, batch: Batch, size: int) -> None:
        self._node.receive(batch, size, time.monotonic(), time.time())

    def _on_lost(self, peer: str) -> None:
        self._node.connection_lost(peer, time.monotonic())
        self.schedule_flush()

    def _turn(self) -> None:
        self._scheduled = False
        self._guard(self._take_turn)

    def _take_turn(self) -> None:
        now = time.monotonic()
        for peer, data in self._node.flush(now):
            self._wire.send(peer, data)
        self.after_turn()
        if self._node.notices:
            log_notices(self._node)
        if self._wire.read_on():
            self.schedule_flush()
        self._timer.arm(self._node.deadline.at, now)

    def _tick(self) -> None:
        self._guard(lambda: self._node.tick(time.monotonic()))
        self._turn()

    def _report_later(self) -> None:
        self._reports = self._loop.call_later(self._report_interval, self._report)

    def _report(self) -> None:
        self._guard(lambda: self._node.send_report(time.monotonic(), self._usage.take()))
        self.schedule_flush()
        self._report_later()
