"""A load: flows and their subscribers in one loop, run for some time, with all messages counted.

Owns: warming up, the measured period, naps, draining, pacing. Never: protocols.

If wanted, the generator sleeps (a "nap") between two rounds of its loop, while the broker handles
the window. It then reads and writes many messages with one system call, and leaves the cores to the
broker.
"""

import time
from collections.abc import Callable

from bench.flow import Flow
from bench.loop import Loop
from bench.measure import Cost, Sample, cost, percentile, sample
from bench.payload import Expected, Miscount

_PATIENCE = 10.0  # seconds without any message after which the missing ones count as lost
_AFTERMATH = 0.2  # seconds to wait for messages that should not come
_NAP_MAX = 0.02  # seconds
_NAP_MIN = 0.000_02  # seconds; a shorter nap is not worth a system call
_READ_ON = 1  # additional turns of the loop after a nap
_NAP_EVERY = 0.03  # seconds after which the nap is computed anew

Deliver = Callable[[list[tuple[int, int]]], None]
"""Called by a subscriber with (publisher, number of messages) pairs."""


class Load:
    """Flows and receivers, which a protocol module connects.

    fans_out: all receivers get the messages of the only flow.
    window: messages in flight, of all flows together.
    nap: duration of a nap as a share of the time in which the broker handles a window.
    hops: how often a message passes through the generator before it is settled.
    """

    def __init__(self, window: int, *, nap: float, fans_out: bool = False, hops: int = 1) -> None:
        self.loop = Loop()
        self.flows: list[Flow] = []
        self._receivers: list[Expected] = []
        self._fans_out = fans_out
        self._window = window
        self._nap_share = nap / hops
        self._nap = 0.0

    def add_flow(self, flow: Flow) -> None:
        """Add a publisher or caller."""
        self.flows.append(flow)

    def add_receiver(self, expected: Expected) -> Deliver:
        """Add a subscriber, and return the function that it must call with what it received."""
        self._receivers.append(expected)
        return _ignore if self._fans_out else self._deliver

    def run(self, pids: list[int], warm: float, seconds: float) -> Cost:
        """Send as fast as the windows allow, and measure `seconds` after `warm` seconds.

        pids: the broker's processes. Raises Miscount if a message is missing or came twice.
        """
        self._pump()
        before = self._until(time.perf_counter() + warm, pids)
        after = self._until(before.clock + seconds, pids)
        self._drain()
        return cost(before, after)

    def paced(self, pids: list[int], rate: float, seconds: float) -> Cost:
        """Send `rate` messages per second on the only flow; measure latency from write to read.

        pids: the broker's processes. Raises Miscount as `run` does, or if the broker falls behind.
        """
        flow, receiver = self.flows[0], self._receivers[0]
        clock = time.perf_counter
        sent_at: list[float] = []
        latencies: list[float] = []
        due = clock()
        end = due + seconds
        before = sample(pids, 0)
        while due < end:
            self.loop.turn(max(0.0, due - clock()))
            now = clock()
            latencies += [now - sent_at[n] for n in range(len(latencies), receiver.total)]
            if now >= due:
                sent_at.append(clock())
                flow.send(1)
                due += 1 / rate
        after = sample(pids, flow.sent)
        self._drain()
        if len(latencies) < flow.sent - rate / 10:
            raise Miscount("the broker fell behind the paced rate")
        latencies.sort()
        return cost(before, after)._replace(
            p50=percentile(latencies, 0.5) * 1e3, p99=percentile(latencies, 0.99) * 1e3
        )

    def close(self) -> None:
        """Close all connections."""
        self.loop.close()

    def _deliver(self, counts: list[tuple[int, int]]) -> None:
        for publisher, count in counts:
            self.flows[publisher].delivered += count

    def _settle(self) -> None:
        if self._fans_out:
            self.flows[0].delivered = min([receiver.total for receiver in self._receivers])

    def _pump(self) -> None:
        self._settle()
        for flow in self.flows:
            flow.pump()

    def _until(self, end: float, pids: list[int]) -> Sample:
        clock = time.perf_counter
        since, settled = clock(), self._settled()
        progress = since
        while (now := clock()) < end:
            if self.loop.turn(0.5):
                progress = now
                self._read_on()
            elif now - progress > _PATIENCE:
                raise Miscount(f"nothing for {_PATIENCE} s: {self._state()}")
            self._pump()
            if now - since > _NAP_EVERY:
                total = self._settled()
                self._adjust((now - since) / max(1, total - settled))
                since, settled = now, total
            if self._nap:
                time.sleep(self._nap)
        return sample(pids, self._received())

    def _read_on(self) -> None:
        """Read again after a nap, when the kernel held back segments until the first read."""
        for _ in range(_READ_ON if self._nap else 0):
            if not self.loop.turn(0.0):
                break

    def _adjust(self, seconds_per_message: float) -> None:
        nap = min(seconds_per_message * self._window * self._nap_share, _NAP_MAX)
        self._nap = nap if nap > _NAP_MIN and self._window > 1 else 0.0

    def _drain(self) -> None:
        """Wait for the messages in flight, and then a little for any that should not come."""
        progress = time.perf_counter()
        while self._settled() < self._sent():
            if self.loop.turn(0.1):
                progress = time.perf_counter()
            elif time.perf_counter() - progress > _PATIENCE:
                raise Miscount(self._state())
            self._settle()
        end = time.perf_counter() + _AFTERMATH
        while time.perf_counter() < end:
            self.loop.turn(0.05)
        if self._received() != self._due():
            raise Miscount(self._state())

    def _sent(self) -> int:
        return sum([flow.sent for flow in self.flows])

    def _settled(self) -> int:
        return sum([flow.settled for flow in self.flows])

    def _received(self) -> int:
        return sum([receiver.total for receiver in self._receivers])

    def _due(self) -> int:
        return self._sent() * (len(self._receivers) if self._fans_out else 1)

    def _state(self) -> str:
        acked = sum([flow.acked for flow in self.flows])
        return (
            f"{self._sent()} sent, {acked} acknowledged, "
            f"{self._received()} of {self._due()} received"
        )


def _ignore(_counts: list[tuple[int, int]]) -> None:
    """Do nothing: in a fan-out, `Load` reads the receivers' totals instead."""
