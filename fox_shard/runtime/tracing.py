"""Spans go to a collector by OpenTelemetry, which is an extra: `fox-shard[otel]`.

Owns: the library, the times of day of spans, their attributes. Never: which spans there are (see
`backplane.tracing`).
"""

import time
from collections.abc import Callable
from typing import Final, final

from fox_shard.backplane.node import Node
from fox_shard.backplane.tracing import Span, Tracer
from fox_shard.errors import StartError
from fox_shard.version import __version__

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise StartError(
        f"tracing.endpoint is set, but OpenTelemetry is missing ({error}): pip install "
        "'fox-shard[otel]'."
    ) from error

EXPORT_TIMEOUT: Final = 2.0
"""Seconds in which the collector has to take a batch; the process ends that much later at most."""

KINDS: Final = {
    "publish": SpanKind.SERVER,
    "event": SpanKind.PRODUCER,
    "call": SpanKind.SERVER,
    "invocation": SpanKind.CLIENT,
}


@final
class Tracing:
    """The way of the spans of one node to the collector, which never holds up the node."""

    def __init__(self, endpoint: str, node: Node) -> None:
        self._tracer = Tracer()
        node.trace(self._tracer)
        self._process = node.name
        resource = Resource.create(
            {
                "service.name": "fox-shard",
                "service.version": __version__,
                "service.instance.id": node.name,
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_TIMEOUT)
        # It exports in a thread of its own, from a queue that drops what is too much.
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._spans = self._provider.get_tracer("fox_shard", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def behind(self, after_turn: Callable[[], None]) -> Callable[[], None]:
        """Return a function for the end of each turn, which also exports the turn's spans."""

        def after_turn_and_export() -> None:
            after_turn()
            self.turn_ends(time.monotonic())

        return after_turn_and_export

    def turn_ends(self, now: float) -> None:
        """Export the spans that have ended in this turn. now: monotonic seconds."""
        ended = self._tracer.take(now)
        if ended:
            since = time.time() - now
            for span in ended:
                self._export(span, since)

    def _export(self, span: Span, since: float) -> None:
        """since: the time of day at which monotonic time began."""
        parent = self._propagator.extract({"traceparent": span.parent}, Context())
        exported = self._spans.start_span(
            f"{span.kind} {span.uri}",
            parent,
            KINDS[span.kind],
            attributes={
                "fox.kind": span.kind,
                "fox.process": self._process,
                "fox.realm": span.realm,
                "fox.uri": span.uri,
            },
            start_time=_nanoseconds(since + span.start),
        )
        if span.error:
            exported.set_status(Status(StatusCode.ERROR, span.error))
        exported.end(_nanoseconds(since + span.end))

    def close(self) -> None:
        """Export what is left, for as long as that may take."""
        self._provider.shutdown()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
