"""From the answers of all processes to a snapshot.

Owns: which number of an answer is which, rates, restarts. Never: asking; a clock.

Counters are sums since a process's start, as of its last report. So a rate is that between the last
two reports, and stays until there is another one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, final

from fox_shard.backplane.attached import is_attached
from fox_shard.runtime.health import shortages
from fox_shard.top.snapshot import Process, Rates, Realm, Snapshot

Answer = Mapping[str, Any]

MOMENT: Final = 0.05
"""Seconds between two reports, at least."""

REALMS: Final = 100
"""Of how many realms there are rates, at most: the ones with the most messages."""

_RATES: Final = {
    "publishes": "publishes",
    "deliveries": "events",
    "calls": "calls",
    "dropped_events": "dropped",
    "wamp.bytes_in": "bytes_in",
    "mqtt.bytes_in": "bytes_in",
    "wamp.bytes_out": "bytes_out",
    "mqtt.bytes_out": "bytes_out",
}
"""Name of a realm's counter (docs/metrics.md) → field of `Rates`."""

_FIELDS: Final = tuple(dict.fromkeys(_RATES.values()))

_QUEUES: Final = ("queue_depth", "reducer_queue", "waiting_publishes")
_BUFFERS: Final = ("link_buffers", "outbox_bytes")
_OF_PROCESS: Final = ("memory", "uptime")
_TROUBLE: Final = ("reason", "store", "stores")


_OfRealm = tuple[str, str]
"""A realm, and the name of one of its counters."""


class _Report(NamedTuple):
    """The realms' counters in a process's report. at: when it was made, in monotonic seconds."""

    pid: int | None
    at: float
    counters: dict[_OfRealm, int]


@final
class Monitor:
    """Takes the answers of all processes again and again."""

    __slots__ = ("_cores", "_pids", "_processor", "_rates", "_reports", "_restarts")

    def __init__(self, cores: float) -> None:
        """cores: of the machine."""
        self._cores = cores
        self._pids: dict[str, int] = {}
        self._restarts: Counter[str] = Counter()
        self._reports: dict[str, _Report] = {}
        self._rates: dict[str, dict[_OfRealm, float]] = {}
        # By process id: when it was asked, and the processor's seconds it had used.
        self._processor: dict[int, tuple[float, float]] = {}

    def take(self, answers: Mapping[str, Answer], now: float, wall: float) -> Snapshot:
        """Return what the answers say. now: monotonic seconds; wall: seconds since 1970."""
        for name, answer in answers.items():
            self._note_restart(name, answer)
            self._note_report(name, answer, now)
        self._rates = {name: rates for name, rates in self._rates.items() if name in answers}
        shares = self._shares(answers, now)
        processes = [
            _process(name, answer, shares.get(name), self._restarts[name])
            for name, answer in _told_once(answers)
        ]
        realms = self._realms()
        return Snapshot(
            at=wall,
            processes=processes,
            realms=[Realm(name, rates) for name, rates in realms][:REALMS],
            rates=_sum(rates for _, rates in realms),
            sessions=sum(one.sessions or 0 for one in processes if one.name == "coordinator"),
            keys=sum(one.keys or 0 for one in processes),
            slow_clients=sum(_slow_clients(answer) for answer in answers.values()),
            sentences=list(shortages(shares, self._cores)),
        )

    def _note_restart(self, name: str, answer: Answer) -> None:
        pid = answer.get("pid")
        if pid is None:
            return
        if self._pids.get(name, pid) != pid:
            self._restarts[name] += 1
        self._pids[name] = pid

    def _note_report(self, name: str, answer: Answer, now: float) -> None:
        metrics = answer.get("metrics")
        if metrics is None:
            self._rates.pop(name, None)
            return
        counters = {
            (realm, counter): count
            for realm, counts in metrics["realms"].items()
            for counter, count in counts.items()
            if counter in _RATES
        }
        report = _Report(answer.get("pid"), now - metrics["age"], counters)
        before = self._reports.get(name)
        self._reports[name] = report
        if before is None or before.pid != report.pid:
            self._rates[name] = dict.fromkeys(report.counters, 0.0)
            return
        seconds = report.at - before.at
        if seconds < MOMENT:
            self._reports[name] = before  # it is the same report
            return
        self._rates[name] = {
            counter: max(0, count - before.counters.get(counter, 0)) / seconds
            for counter, count in report.counters.items()
        }

    def _shares(self, answers: Mapping[str, Answer], now: float) -> dict[str, float]:
        """Return the share of a core since the last time, by process.

        Nodes that are in one process have the share of that process, which stands at the first one.
        """
        shares: dict[str, float] = {}
        used: dict[int, tuple[float, float]] = {}
        for name, answer in answers.items():
            pid, processor = answer.get("pid"), answer.get("processor")
            if pid is None or processor is None:
                if "cores" in answer:
                    shares[name] = answer["cores"]
                continue
            if pid in used:
                continue
            used[pid] = now, processor
            if pid in self._processor:
                since, before = self._processor[pid]
                shares[name] = round(max(0.0, processor - before) / max(now - since, MOMENT), 3)
            else:
                shares[name] = answer.get("cores", 0.0)
        self._processor = used
        return shares

    def _realms(self) -> list[tuple[str, Rates]]:
        """Return the rates of the realms, most messages first."""
        sums: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_FIELDS, 0.0))
        for rates in self._rates.values():
            for (realm, counter), rate in rates.items():
                sums[realm][_RATES[counter]] += rate
        realms = [(realm, Rates(**found)) for realm, found in sums.items()]
        return sorted(realms, key=lambda realm: (-realm[1].messages, realm[0]))


def _told_once(answers: Mapping[str, Answer]) -> Iterator[tuple[str, Answer]]:
    """Yield the answers, of which only the first of a process says what that has."""
    pids = set()
    for name, answer in answers.items():
        pid = answer.get("pid")
        if pid in pids:
            answer = {key: value for key, value in answer.items() if key not in _OF_PROCESS}
        elif pid is not None:
            pids.add(pid)
        yield name, answer


def _process(name: str, answer: Answer, share: float | None, restarts: int) -> Process:
    gauges: dict[str, int] = answer.get("metrics", {}).get("gauges", {})
    status = str(answer.get("status", "down"))
    return Process(
        name=name,
        status=status,
        pid=answer.get("pid"),
        cores=share,
        memory=answer.get("memory"),
        uptime=answer.get("uptime"),
        restarts=restarts,
        sessions=answer.get("sessions"),
        keys=answer.get("keys"),
        queued=_sum_of(gauges, _QUEUES),
        unread=gauges.get("client_buffers"),
        unhandled=_sum_of(gauges, _BUFFERS),
        trouble=list(_trouble(answer)),
    )


def _sum_of(gauges: Mapping[str, int], names: Iterable[str]) -> int | None:
    found = [gauges[name] for name in names if name in gauges]
    return sum(found) if found else None


def _trouble(answer: Answer) -> Iterable[str]:
    links: Mapping[str, bool] = answer.get("links", {})
    down = [peer for peer, up in links.items() if not (up or is_attached(peer))]
    if down:
        yield f"not linked to {', '.join(down)}"
    for name in _TROUBLE:
        if name in answer:
            yield str(answer[name]) if name == "reason" else f"{name}: {answer[name]}"


def _slow_clients(answer: Answer) -> int:
    counters: Mapping[str, int] = answer.get("metrics", {}).get("counters", {})
    return counters.get("slow_consumers", 0)


def _sum(rates: Iterable[Rates]) -> Rates:
    found = list(rates)
    return Rates(**{field: sum(getattr(one, field) for one in found) for field in _FIELDS})


SORTS: Final[Mapping[str, Callable[[Process], float]]] = {
    "name": lambda one: 0.0,
    "cpu": lambda one: -(one.cores or 0.0),
    "memory": lambda one: -(one.memory or 0),
}
"""What processes are sorted by, and how; those that are equal stay in the order of their names."""


def in_order(processes: Iterable[Process], sort: str) -> list[Process]:
    """Return the processes in the order of one of `SORTS`."""
    return sorted(processes, key=SORTS[sort])
