"""The shell around a core: event loop, links' sockets, store, time, logs.

Owns: the turn of the loop: what arrives goes into the node, and once, at its end, everything the
node has for others and for its store goes out. Never: what a node decides.

Time is `time.monotonic`, as the time of uvloop has milliseconds only.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO, final

from fox_shard.backplane.frames import Batch
from fox_shard.backplane.node import Node
from fox_shard.backplane.wire import Wire
from fox_shard.compiled import build_of_this_process
from fox_shard.config import Config
from fox_shard.runtime.core_share import PERIOD, CoreShare
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.interpreter import settle_garbage, share_with_store
from fox_shard.runtime.metrics import report_interval
from fox_shard.runtime.notices import log_notices
from fox_shard.runtime.tick_timer import TickTimer
from fox_shard.runtime.trace_exports import tracing_of
from fox_shard.runtime.usage import UsageMeter
from fox_shard.runtime.watchdog import Watchdog
from fox_shard.store.store import Store

_log = logging.getLogger("fox")


ALONE = 8
"""Turns with one cause each after which a batch is taken to have come by itself."""


@final
class Shell:
    """Runs one node until SIGTERM or SIGINT."""

    def __init__(
        self,
        node: Node,
        config: Config,
        incarnation: int,
        lock: TextIO,
        *,
        listens: bool,
        connects: Iterable[str],
        store: Store | None = None,
    ) -> None:
        """lock: of the node's name. listens: other processes connect to this one.

        connects: to these it connects. store: of the node's journal, with `committed` as its
        `on_outcome`.
        """
        self.node = node
        self.config = config
        run_dir = Path(config.run_dir)
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._store = store
        self.after_flush: Callable[[], None] = lambda: None
        self._scheduled = False
        # What has asked for the flush of this turn, and how many turns have had one cause each.
        self._causes = self._single_turns = 0
        self._stopped = False
        self._timer = TickTimer(self._loop, self._tick)
        self._report_interval = report_interval(config)
        self.stopping = asyncio.Event()
        self.failure: BaseException | None = None
        self._usage = UsageMeter()
        self._tracing = tracing_of(config, node)
        self._share = CoreShare(time.monotonic(), time.process_time())
        # What the answer about the process's health has besides the node's.
        self.more_health: Callable[[], dict[str, object]] = dict
        self._health = HealthSocket(run_dir, node.name, self._answer_health)
        self._watchdog = Watchdog(
            node.name, lambda: node.incarnation, run_dir, config.backplane, self._loop
        )
        self.wire = Wire(
            node.name,
            incarnation,
            run_dir,
            listens=listens,
            connects=connects,
            on_batch=self._on_batch,
            on_lost=self._on_lost,
            on_garbage=lambda why: _log.error("unreadable_batch", extra={"fox": {"reason": why}}),
        )

    async def start(self) -> None:
        """Begin to turn."""
        if self._tracing is not None:
            self.after_flush = self._tracing.behind(self.after_flush)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stopping.set)
        self._loop.set_exception_handler(self._failed)
        for descriptor in self.wire.descriptors:
            self._loop.add_reader(descriptor, self._read, descriptor)
        self._loop.add_reader(self.wire.tap.fileno(), self.wire.tap.on_readable)
        await self._health.open()
        if self._report_interval:
            self._loop.call_later(self._report_interval, self._report)
        self._loop.call_later(PERIOD, self._sample_share)
        settle_garbage()
        if self._store is not None:
            share_with_store()
        self._tick()
        self._watchdog.start()
        about = {"pid": os.getpid(), "build": build_of_this_process()}
        _log.info("started", extra={"fox": {"process": self.node.name, **about}})

    async def stop(self) -> None:
        """Store and send what is left, and let go of everything."""
        self._watchdog.stop()
        if self.node.journal is not None:
            self.node.journal.interval = 0.0
        self._flush()
        if self._store is not None:
            # It says what has become of its last transactions; whoever waited for them is told.
            self._store.close()
            self._store = None
            await asyncio.sleep(0)
            self._flush()
        self._stopped = True
        self._timer.cancel()
        self._health.close()
        for descriptor in (*self.wire.descriptors, self.wire.tap.fileno()):
            self._loop.remove_reader(descriptor)
        self.wire.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        self._lock.close()
        _log.info("stopped", extra={"fox": {"process": self.node.name}})

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """An exception nobody expected.

        While one client's data was read: that client's connection is over (the event loop closes
        it), nobody else's. Elsewhere the process's state can no longer be trusted, so it ends;
        supervisord starts it anew, and the others replay what it must know.
        """
        error = context.get("exception")
        if not isinstance(error, BaseException):
            error = RuntimeError(context["message"])
        if "protocol" in context:
            _log.error("connection_failed", exc_info=error)
            self.schedule_flush()
            return
        self.failure = error
        _log.critical("failed", exc_info=self.failure)
        self.stopping.set()

    # The turn

    def _read(self, descriptor: int) -> None:
        crowded = self.wire.read(descriptor)
        if crowded or self._scheduled or self._single_turns < ALONE:
            self.schedule_flush()
        else:
            # A batch by itself is answered at once, not in the loop's next iteration.
            self._flush()

    def _on_batch(self, batch: Batch, size: int) -> None:
        self.node.receive(batch, size, time.monotonic(), time.time())

    def _on_lost(self, peer: str) -> None:
        self.node.connection_lost(peer, time.monotonic())
        self.schedule_flush()

    def schedule_flush(self) -> None:
        """Flush at the end of this turn."""
        self._causes += 1
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._single_turns = self._single_turns + 1 if self._causes < 2 else 0
        self._causes = 0
        self._watchdog.turned = True
        if self._stopped:
            return
        now = time.monotonic()
        for peer, data in self.node.flush(now):
            self.wire.send(peer, data)
        if self.node.forgotten:
            self._forget()
        if self._store is not None and self.node.journal is not None:
            write = self.node.journal.take(now)
            if write is not None:
                self._store.write(write.ticket, write.changes, resume=write.resume)
        self.after_flush()
        if self.node.notices:
            log_notices(self.node)
        if self.wire.read_on():
            self.schedule_flush()
        self._timer.arm(self.node.deadline.at, now)

    def _forget(self) -> None:
        for peer in self.node.forgotten:
            self.wire.forget(peer)
        self.node.forgotten.clear()

    def committed(self, ticket: int, why: str) -> None:
        """The store's `on_outcome`; from any thread."""
        self._loop.call_soon_threadsafe(self._committed, ticket, why)

    def _committed(self, ticket: int, why: str) -> None:
        if self.node.journal is not None:
            self.node.journal.outcome(ticket, why, time.monotonic())
            self.schedule_flush()

    def _tick(self) -> None:
        self.node.tick(time.monotonic())
        self._flush()

    def _report(self) -> None:
        self._send_report()
        self._loop.call_later(self._report_interval, self._report)

    def _send_report(self) -> None:
        self.node.send_report(time.monotonic(), self._usage.take())
        self.schedule_flush()

    def _sample_share(self) -> None:
        self._share.sample(time.monotonic(), time.process_time())
        self._loop.call_later(PERIOD, self._sample_share)

    def _answer_health(self) -> dict[str, object]:
        now = time.monotonic()
        share = self._share.value(now, time.process_time())
        if self.node.totals.are_old(now):
            self._send_report()
        metrics = self.node.totals.state(now)
        return {**self.node.health(), "cores": share, "metrics": metrics, **self.more_health()}
