"""Web applications that are attached to a server come and go under load: nobody else notices."""

import signal
import tempfile
import threading
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from cluster import await_true
from raw_wamp import (
    CALL,
    EVENT,
    PUBLISH,
    PUBLISHED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    at_gateway,
)
from web_servers import APPLICATION, PATIENCE, UVICORN, WebServer, attached_gateways, environment

EVENTS = 30
"""Events that each application's page gets before the application goes."""

PATTERN = {"match": "prefix"}
ACKNOWLEDGED = {"acknowledge": True}
END = "end"


@contextmanager
def application(cluster):
    """Run one that is attached; it may have ended before this does."""
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        variables = environment(name, RUN_DIR=str(cluster.run_dir))
        server = WebServer(Path(name), UVICORN, APPLICATION, variables)
        try:
            yield server
        finally:
            server.kill()


class Load:
    """Acknowledged publishes on all shards, and calls, one after the other in a thread each."""

    def __init__(self, cluster, procedure):
        self.published = self.called = 0
        self._topics = cluster.on_each_shard("load")
        self._procedure = procedure
        self._stopped = threading.Event()
        self.publisher, self._caller = at_gateway(cluster, 0), at_gateway(cluster, 1)
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._publish, self._call)
        ]
        for thread in self._threads:
            thread.start()

    def _publish(self):
        while not self._stopped.is_set():
            topic = self._topics[self.published % len(self._topics)]
            self.publisher.do(PUBLISH, ACKNOWLEDGED, topic, [self.published], answer=PUBLISHED)
            self.published += 1

    def _call(self):
        while not self._stopped.is_set():
            self._caller.do(CALL, {}, self._procedure, [self.called], answer=RESULT)
            self.called += 1

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self.publisher.do(PUBLISH, ACKNOWLEDGED, self._topics[0], [END], answer=PUBLISHED)

    def close(self):
        self.publisher.close()
        self._caller.close()


class Reader:
    """Reads all events of a client in a thread. receive: returns the next message."""

    def __init__(self, receive):
        self.got = []
        self._receive = receive
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while END not in self.got[-1:]:
            message = self._receive()
            assert message[0] == EVENT
            self.got.append(message[4][0])

    def all(self):
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.got


def come_and_go(cluster, how):
    """Let two applications come, each with a page that reads, publish, and go."""
    with ExitStack() as stack:
        servers = [stack.enter_context(application(cluster)) for _ in range(2)]
        pages = []
        for server in servers:
            server.await_ready()
            pages.append(stack.enter_context(closing(server.page())))
            pages[-1].ask(SUBSCRIBE, 1, PATTERN, "load.", answer=SUBSCRIBED)
        for server, page in zip(servers, pages, strict=True):
            for _ in range(EVENTS):
                page.event()
            said = ["comings.said", server.port, ACKNOWLEDGED]
            assert server.request("POST", "/say", said)[0] == 200
        for server in servers:
            server.process.send_signal(how)
        for server in servers:
            server.process.wait(PATIENCE)


def test_two_applications_come_and_go_under_load_and_no_other_session_notices(cluster):
    with application(cluster) as steady:
        steady.await_ready()
        # Those of other tests may still be leaving.
        alone = "no other application is attached"
        await_true(alone, lambda: len(attached_gateways(cluster)) == 1, PATIENCE)
        (staying,) = attached_gateways(cluster)
        procedure = f"live.p{steady.process.pid}.echo"
        with (
            closing(steady.page()) as page,
            closing(at_gateway(cluster, 1)) as subscriber,
        ):
            subscriber.do(SUBSCRIBE, PATTERN, "load.", answer=SUBSCRIBED)
            page.ask(SUBSCRIBE, 1, PATTERN, "load.", answer=SUBSCRIBED)
            readers = [Reader(page.receive), Reader(subscriber.receive)]
            with closing(Load(cluster, procedure)) as load:
                for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                    come_and_go(cluster, how)
                load.stop()
                for reader in readers:
                    assert reader.all() == [*range(load.published), END]
                assert load.called
            # Neither was cut off, and both can go on.
            assert page.call(procedure, "still there") == "still there"
            subscriber.do(CALL, {}, procedure, ["still there"], answer=RESULT)
        await_true(
            "the others are forgotten", lambda: attached_gateways(cluster) == {staying}, PATIENCE
        )
        steady.end()
        assert "Traceback" not in steady.said()
