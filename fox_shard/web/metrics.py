"""`GET /metrics`: all metrics, for Prometheus.

Owns: the form of the answer, and who gets one. Never: where the values come from (see `Source`),
their names (see `metric_catalog`).
"""

import asyncio
import hmac
import re
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.coordinator.totals import ProcessTotals, Sums
from fox_shard.gateway.clients.access import is_loopback
from fox_shard.histogram import BOUNDS, Buckets
from fox_shard.version import __version__
from fox_shard.web.metric_catalog import BUILD, CATALOG, REFUSED, SESSIONS, UP, Metric
from fox_shard.web.problems import Problem

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

Access = Literal["local", "all", "token"]

_LINK = re.compile(r"\[([^]]+)\]\([^)]*\)")
"""A link of the documentation."""

PROXIED = ("forwarded", "x-forwarded-for", "via")
"""Headers of requests that a proxy passes on, perhaps from another machine."""


KEPT: Final = 0.5
"""Seconds for which an answer is good for others, too: to make one takes up to 20 ms, in which no
other client is served."""


class Snapshot(NamedTuple):
    """The values at one time.

    up: whether each process that there should be is there. sums: what all processes have reported;
    None: the coordinator is down. own: what this process has counted, by its name. server: of the
    machine, by the keys of the catalog.
    """

    up: dict[str, bool]
    sums: Sums | None
    own: dict[str, ProcessTotals]
    server: dict[str, int]


class Source(Protocol):
    """Where the values come from."""

    async def snapshot(self) -> Snapshot:
        """Return the values of now."""


class MetricsPage:
    """The answers at `/metrics`."""

    def __init__(
        self,
        source: Source,
        access: Access,
        token: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """access: who may read them: programs of this machine, all, or who shows the token.

        token: whoever shows it may read them, too; "": there is none. clock: monotonic seconds.
        """
        self._source = source
        self._access = access
        self._token = token
        self._clock = clock
        self._asking = asyncio.Lock()
        self._since = -inf
        self._registry: CollectorRegistry
        self._texts: dict[str, bytes] = {}

    async def answer(self, request: Request) -> Response:
        """Return all metrics. Raises Problem."""
        self._check(request)
        # Whoever comes meanwhile waits, and gets what the first has got.
        async with self._asking:
            if not self._since <= self._clock() < self._since + KEPT:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Collected(await self._source.snapshot()))
                self._registry, self._texts, self._since = registry, {}, self._clock()
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        if media_type not in self._texts:
            self._texts[media_type] = encode(self._registry)
        return Response(self._texts[media_type], headers={"content-type": media_type})

    def _check(self, request: Request) -> None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if self._token and scheme.lower() == "bearer":
            if hmac.compare_digest(shown.strip().encode(), self._token.encode()):
                return
            raise _problem(401, "This is not the token of metrics.token.")
        if self._access == "token":
            raise _problem(401, "These metrics need the token of metrics.token, as Bearer.")
        if self._access == "local" and not _is_local(request):
            sentence = "Only programs of this machine may read the metrics: see metrics.access."
            raise _problem(401 if self._token else 403, sentence)


def _problem(status: int, sentence: str) -> Problem:
    challenge = {"www-authenticate": 'Bearer realm="fox-shard metrics"'} if status == 401 else {}
    return Problem(status, sentence, headers=challenge)


def _is_local(request: Request) -> bool:
    host = request.client.host if request.client is not None else ""
    return is_loopback(host) and not any(name in request.headers for name in PROXIED)


@final
class _Collected(Collector):
    """The values of one snapshot, in the form of the library."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._up = snapshot.up
        self._sums = snapshot.sums
        self._processes = {**(snapshot.sums.processes if snapshot.sums else {}), **snapshot.own}
        self._server = dict(snapshot.server)
        if snapshot.sums is not None:
            self._server["uptime"] = int(snapshot.sums.uptime)

    def collect(self) -> Iterator[Family]:
        """Yield all metrics."""
        for metric in CATALOG:
            family = _family(metric)
            if isinstance(family, HistogramMetricFamily):
                for name, totals in self._of_kind(metric):
                    _add_histogram(family, name, totals.histograms.get(metric.key))
            else:
                for labels, value in self._values(metric):
                    family.add_metric(labels, value / metric.divisor)
            yield family

    def _values(self, metric: Metric) -> Iterable[tuple[tuple[str, ...], float]]:
        if metric is UP:
            return [((name,), int(is_up)) for name, is_up in self._up.items()]
        if metric is BUILD:
            return [((__version__,), 1)]
        if metric is REFUSED:
            return self._refused()
        if metric.owner == "server":
            return [((), self._server[metric.key])] if metric.key in self._server else []
        if metric.owner == "realm":
            return self._of_realms(metric)
        return self._of_processes(metric)

    def _of_processes(self, metric: Metric) -> Iterator[tuple[tuple[str, ...], float]]:
        for name, totals in self._of_kind(metric):
            values = totals.counters if metric.kind == "counter" else totals.gauges
            if metric.key in values:
                yield (name,), values[metric.key]

    def _of_kind(self, metric: Metric) -> Iterator[tuple[str, ProcessTotals]]:
        for name, totals in self._processes.items():
            if metric.owner in ("process", name.partition("-")[0]):
                yield name, totals

    def _refused(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for name, totals in self._processes.items():
            for key, value in totals.counters.items():
                if key.startswith(REFUSED.key):
                    yield (name, key.removeprefix(REFUSED.key)), value

    def _of_realms(self, metric: Metric) -> Iterator[tuple[tuple[str, ...], float]]:
        if self._sums is None:
            return
        if metric is SESSIONS:
            for realm, protocol, number in self._sums.sessions:
                yield (realm, protocol), number
            return
        for realm, counters in self._sums.realms.items():
            if not metric.by_protocol:
                yield (realm,), counters.get(metric.key, 0)
                continue
            for protocol in ("wamp", "mqtt"):
                yield (realm, protocol), counters.get(f"{protocol}.{metric.key}", 0)


def _family(metric: Metric) -> Family:
    about = _LINK.sub(r"\1", metric.about)
    about = about[0].upper() + about[1:] + "."
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, about, labels=metric.labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, about, labels=metric.labels)
    return HistogramMetricFamily(metric.name, about, labels=metric.labels)


def _add_histogram(family: HistogramMetricFamily, name: str, buckets: Buckets | None) -> None:
    if buckets is None:
        return
    microseconds, *counts = buckets
    below = 0
    bounds: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        below += count
        bounds.append((bound, below))
    family.add_metric([name], bounds, microseconds / 1e6)
