"""What a load has measured.

Owns: the numbers, their sentences, what `--json` prints, and whether something was lost. Never:
measuring.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final, final

from msgspec import Struct

from fox_shard.bench.latencies import Latencies, Summary
from fox_shard.bench.message import Stamp, stamp_of
from fox_shard.bench.sequences import Sequences

BUSY: Final = 0.85
"""The share of a core from which on the command may be what is slow."""

LATE: Final = 10.0
"""Milliseconds of lateness from which on latencies say more of this process than of the server."""

REASONS: Final = 5
"""Reasons of failures that are told, at most: the most frequent ones."""

Reasons = Counter[str]


class Sent(Struct, frozen=True):
    """What was published or called. asked: messages a second, 0: as many as possible.

    lateness: milliseconds by which this process woke up too late, in 99 of 100 cases at most.
    """

    count: int
    rate: float
    asked: float
    answered: int
    failed: int
    reasons: dict[str, int]
    latency: Summary | None
    lateness: float


class Received(Struct, frozen=True):
    """What subscribers have got. others: messages that are none of `fox bench`."""

    count: int
    rate: float
    lost: int
    duplicates: int
    others: int
    latency: Summary | None


class Measured(Struct, frozen=True):
    """The result of a command. cores: the share of a core that the command itself has used."""

    command: str
    seconds: float
    clients: int
    cores: float
    sent: Sent | None = None
    received: Received | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost, and nothing has failed."""
        failed = self.sent.failed if self.sent is not None else 0
        lost = self.received.lost if self.received is not None else 0
        return failed == lost == 0


@final
class Sending:
    """Counts what one load sends."""

    def __init__(self, asked: float) -> None:
        self._asked = asked
        self._reasons: Reasons = Counter()
        self._others = 0
        self.count = self.answered = 0
        self.latencies = Latencies()
        self.lateness = Latencies()

    @property
    def failed(self) -> int:
        """How many messages were refused, or have got no answer."""
        return sum(self._reasons.values())

    def fails(self, why: str) -> None:
        """Count a message that was refused or not answered."""
        # The reasons that a server thinks of are without number.
        if why not in self._reasons and len(self._reasons) >= 100:
            why = "others"
        self._reasons[why] += 1

    def result(self, seconds: float, *, timed: bool = True) -> Sent:
        """Return the numbers. timed: whether the latencies mean something."""
        return Sent(
            self.count,
            round(self.count / seconds, 1),
            self._asked,
            self.answered,
            self.failed,
            dict(self._reasons.most_common(REASONS)),
            self.latencies.summary() if timed and self.latencies.count else None,
            self.lateness.summary().p99,
        )


@final
class Receiving:
    """Counts what one subscriber gets.

    run: whose messages count; None: those of anybody, from the first one on.
    """

    def __init__(self, run: str | None, latencies: Latencies) -> None:
        self._run = run
        self._sequences = Sequences(from_start=run is not None)
        self._latencies = latencies
        self.others = 0

    @property
    def count(self) -> int:
        """How many different messages have come."""
        return self._sequences.received

    @property
    def duplicates(self) -> int:
        """How many messages have come again."""
        return self._sequences.duplicates

    @property
    def gaps(self) -> int:
        """How many messages are missing before others that have come."""
        return self._sequences.lost

    def take(self, args: list[object], now: int) -> None:
        """Take a message. now: microseconds since 1970."""
        stamp: Stamp | None = stamp_of(args)
        if stamp is None or (self._run is not None and stamp.run != self._run):
            self.others += 1
        elif self._sequences.take(f"{stamp.run}/{stamp.sender}", stamp.number):
            self._latencies.add((now - stamp.sent) / 1e6)


def received_by(
    receivers: list[Receiving], latencies: Latencies, seconds: float, expected: int | None
) -> Received:
    """Return the numbers of all receivers.

    expected: how many messages each should have got; None: nobody knows more than the gaps.
    """
    count = sum(one.count for one in receivers)
    lost = (
        sum(one.gaps for one in receivers)
        if expected is None
        else sum(max(0, expected - one.count) for one in receivers)
    )
    return Received(
        count,
        round(count / seconds, 1),
        lost,
        sum(one.duplicates for one in receivers),
        sum(one.others for one in receivers),
        latencies.summary() if latencies.count else None,
    )


def sentences(measured: Measured) -> Iterator[str]:
    """Yield the lines that are printed."""
    word = "called" if measured.command == "call" else "published"
    if (sent := measured.sent) is not None:
        asked = f" of {sent.asked:,.0f}/s asked for" if sent.asked else ""
        yield (
            f"{word:<12} {sent.count:,} in {measured.seconds:.1f} s: {sent.rate:,.0f}/s{asked}, "
            f"by {measured.clients} client{'' if measured.clients == 1 else 's'}"
        )
        if sent.latency is not None:
            yield f"{'answered':<12} {sent.answered:,}: {_times(sent.latency)}"
        for why, count in sent.reasons.items():
            yield f"{'failed':<12} {count:,}: {why}"
    if (got := measured.received) is not None:
        times = f": {_times(got.latency)}" if got.latency is not None else ""
        yield f"{'received':<12} {got.count:,}, {got.rate:,.0f}/s{times}"
        yield f"{'lost':<12} {got.lost:,}"
        yield f"{'duplicates':<12} {got.duplicates:,}"
        if got.others:
            yield f"{'others':<12} {got.others:,} messages, none of this command's"
    if sent is not None and sent.lateness >= LATE:
        yield (
            f"This machine was too busy: the command itself woke up to {sent.lateness:,.0f} ms "
            "late (p99), which is in these times."
        )
    if measured.cores >= BUSY:
        yield (
            f"This command itself has used {measured.cores:.0%} of a core: it may have been slower "
            "than the server. Start several at once for more."
        )


def _times(latency: Summary) -> str:
    return (
        f"p50 {latency.p50:,.2f} ms, p90 {latency.p90:,.2f} ms, p99 {latency.p99:,.2f} ms, "
        f"max {latency.max:,.2f} ms"
    )
