"""OpenTelemetry: spans of each process reach a collector (OTLP over HTTP)."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cluster import await_true
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from served import Served

from fox_shard.client import Refused, connect

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector:
    """A collector, which keeps (process, span) of all that it gets."""

    def __init__(self):
        self.spans = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, request):
        for of_resource in request.resource_spans:
            about = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            assert about["service.name"] == "fox-shard"
            for of_scope in of_resource.scope_spans:
                self.spans += [(about["service.instance.id"], span) for span in of_scope.spans]

    def names(self):
        return {(process, span.name) for process, span in self.spans}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


async def publish_and_call(address, topic, procedure):
    """Publish and call with a traceparent, and once each without."""
    url = f"ws://{address}/ws"
    traced = {"_traceparent": f"00-{TRACE}-{PARENT}-01"}

    def fail(_number):
        raise Refused("com.example.no", [], {})

    async with connect(url, "realm1") as realm:
        await realm.register(procedure, fail)
        async with realm.events(topic) as events:
            for options in (traced, {}):
                await realm.publish(topic, [1], retain=True, exclude_me=False, **options)
                await events.next()
        for options in (traced, {}):
            with pytest.raises(Refused):
                await realm.call(procedure, [1], **options)


def test_a_publish_and_a_call_have_a_span_in_each_process(collector, own_cluster):
    cluster = own_cluster(
        gateways=1, shards=2, FOX_TRACING_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100"
    )
    topic, procedure = cluster.on_shard(0, "com.example.t"), cluster.on_shard(1, "com.example.p")
    asyncio.run(publish_and_call(f"127.0.0.1:{cluster.websocket}", topic, procedure))
    expected = {
        ("gateway-0", f"publish {topic}"),
        ("shard-0", f"publish {topic}"),
        ("gateway-0", f"event {topic}"),
        ("gateway-0", f"call {procedure}"),
        ("shard-1", f"call {procedure}"),
        ("shard-1", f"invocation {procedure}"),
        ("gateway-0", f"invocation {procedure}"),
    }
    await_true("all spans have come", lambda: collector.names() >= expected, 30)
    cluster.end()
    assert collector.names() == expected
    assert len(collector.spans) == len(expected)
    for process, span in collector.spans:
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert 0 <= span.end_time_unix_nano - span.start_time_unix_nano < 30e9
        failed = span.name.startswith(("call", "invocation"))
        assert span.status.message == ("com.example.no" if failed else "")
        about = {one.key: one.value.string_value for one in span.attributes}
        assert (about["fox.process"], about["fox.realm"]) == (process, "realm1")
    starts = {at: span.start_time_unix_nano for *_, span in collector.spans for at in [span.name]}
    assert starts[f"event {topic}"] >= starts[f"publish {topic}"]


def test_a_collector_that_is_down_holds_nothing_up(own_cluster):
    cluster = own_cluster(
        gateways=1,
        shards=1,
        FOX_TRACING_ENDPOINT="http://127.0.0.1:9/v1/traces",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    address = f"127.0.0.1:{cluster.websocket}"
    asyncio.run(publish_and_call(address, "com.example.t", "com.example.p"))
    cluster.end()


def test_a_server_in_one_process_has_the_spans_of_its_nodes(collector):
    with Served(FOX_TRACING_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100") as served:
        address = f"127.0.0.1:{served.websocket}"
        asyncio.run(publish_and_call(address, "com.example.t", "com.example.p"))
    assert {process for process, _ in collector.names()} == {"gateway-0", "shard-0"}
    assert len(collector.spans) == 7
