"""A web application that raises, blocks, is changed, or lacks something: who notices what."""

import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from cluster import END, await_true
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    GOODBYE,
    PUBLISH,
    PUBLISHED,
    SUBSCRIBE,
    SUBSCRIBED,
    at_gateway,
)
from web_servers import (
    APPLICATION,
    PATIENCE,
    UVICORN,
    WebServer,
    attached_gateways,
    environment,
    serving,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus

EVENTS = 6


@pytest.fixture
def folder():
    """A folder with a short name, because the paths of UNIX sockets are short."""
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def server(shared_cluster):
    """The application in two workers that are attached to a running server."""
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        folder = Path(name)
        more = {"RUN_DIR": str(shared_cluster.run_dir), "RELEASE": str(folder / "release")}
        command = (*UVICORN, "--workers", "2")
        server = WebServer(folder, command, APPLICATION, environment(folder, **more))
        try:
            server.await_ready()
            yield server
            server.end()
        finally:
            server.kill()


def say(server, topic, value, worker, **options):
    status, text, _ = server.request("POST", "/say", [topic, value, options], worker=worker)
    assert status == 200, text


def test_a_handler_in_a_thread_publishes_by_the_event_loop(server):
    with server.page() as page:
        page.subscribe("live.threads")
        assert server.request("POST", "/say/hello")[0] == 200
        assert page.event() == "hello"


def test_a_handler_that_raises_costs_its_own_answer_only(server):
    one, other = server.pages_of_two_workers()
    with one, other:
        one.subscribe("trouble.raises")
        status, text, _ = server.request("GET", "/fail", worker=one.worker)
        assert (status, "secret" in text) == (500, False)
        for worker in (one.worker, other.worker):
            say(server, "trouble.raises", worker, worker)
            assert one.event() == worker


def test_a_procedure_that_raises_is_an_error_without_a_traceback(server):
    with server.page() as page:
        error = page.request(CALL, "live.broken", answer=ERROR)
        assert error[4:] == ["wamp.error.runtime_error", ["LookupError: there is none"]]


def test_a_handler_that_blocks_holds_the_clients_of_its_own_worker_only(server, cluster):
    one, other = server.pages_of_two_workers()
    blocked, release = server.folder / "release.blocked", server.folder / "release"
    with one, other, closing(at_gateway(cluster, 0)) as elsewhere:
        elsewhere.do(SUBSCRIBE, {}, "trouble.blocks", answer=SUBSCRIBED)
        for page in (one, other):
            page.subscribe("trouble.blocks")
        asking = threading.Thread(
            target=server.request, args=("GET", "/block"), kwargs={"worker": one.worker}
        )
        asking.start()
        try:
            await_true("it blocks", blocked.exists, PATIENCE)
            for number in range(EVENTS):
                say(server, "trouble.blocks", number, other.worker)
                assert other.event() == elsewhere.receive()[4][0] == number
            assert asking.is_alive()
        finally:
            release.touch()
            asking.join(PATIENCE)
        # Nothing is lost where it was blocked.
        assert [one.event() for _ in range(EVENTS)] == [*range(EVENTS)]


def test_a_handler_that_blocks_for_too_long_costs_its_workers_sessions_only(server, cluster):
    one, other = server.pages_of_two_workers()
    release = server.folder / "release"
    release.unlink(missing_ok=True)
    with one, other:
        for page in (one, other):
            page.subscribe("trouble.hangs")
        asking = threading.Thread(
            target=server.request, args=("GET", "/block"), kwargs={"worker": one.worker}
        )
        both = "the server knows both workers, and no application of another test any more"
        await_true(both, lambda: len(attached_gateways(cluster)) == 2, PATIENCE)
        before = attached_gateways(cluster)
        asking.start()
        try:
            gone = "the server has given the worker up"
            await_true(gone, lambda: len(attached_gateways(cluster)) == 1, PATIENCE)
            say(server, "trouble.hangs", 1, other.worker, acknowledge=True)
            assert other.event() == 1
        finally:
            release.touch()
            asking.join(PATIENCE)
        # The shard may have published before it noticed that the worker is gone, after the others.
        messages = [one.receive()]
        while messages[-1][0] == EVENT:
            messages.append(one.receive())
        assert [event[4] for event in messages[:-1]] in ([], [[1]])
        assert messages[-1][::2] == [GOODBYE, "fox.close.stood_still"]
    # It is let in again.
    await_true("both work", lambda: attached_gateways(cluster) == before, PATIENCE)
    one, other = server.pages_of_two_workers()
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("more", "options"), [({"WITHOUT_LIFESPAN": "1"}, ()), ({}, ("--lifespan", "off"))]
)
def test_without_its_lifespan_an_application_says_what_is_missing(folder, more, options):
    command, variables = (*UVICORN, *options), environment(folder, **more)
    with serving(folder, command, APPLICATION, variables) as server:
        with pytest.raises(InvalidStatus) as refused:
            server.page()
        assert refused.value.response.status_code == 503
        assert "router.lifespan" in server.said()


@pytest.mark.parametrize(
    ("workers", "more", "sentence"),
    [
        ("1", {"RUN_DIR": "nowhere"}, "No server has run in"),
        ("2", {}, "The workers of a web server share one server that runs beside them"),
    ],
)
def test_an_application_that_cannot_start_says_why(folder, workers, more, sentence):
    command = (*UVICORN, "--workers", workers)
    server = WebServer(folder, command, APPLICATION, environment(folder, **more))
    try:
        server.process.wait(END)
        assert sentence in server.said()
    finally:
        server.kill()


def test_a_changed_application_is_reloaded_and_keys_stay(folder):
    main = folder / "main.py"
    main.write_text("from live_application import app\n")
    command = (*UVICORN, "--reload", "--reload-delay", "0.05")
    with serving(folder, command, "main:app", environment(folder)) as server:
        (_, before, _) = server.request("GET", "/")
        with server.page() as page:
            options = {"acknowledge": True, "retain": True}
            page.ask(PUBLISH, 1, options, "trouble.kept", ["kept"], answer=PUBLISHED)
            main.write_text("from live_application import app  # changed\n")
            with pytest.raises(ConnectionClosed) as closed:
                page.receive()
            assert closed.value.rcvd.code == 1012  # service restart
        await_true("it is another one", lambda: answers_other_than(server, before), PATIENCE)
        with server.page() as page:
            page.ask(SUBSCRIBE, 1, {"get_retained": True}, "trouble.kept", answer=SUBSCRIBED)
            assert page.event() == "kept"


def answers_other_than(server, before):
    try:
        status, text, _ = server.request("GET", "/")
    except OSError:
        return False
    return status == 200 and text != before
