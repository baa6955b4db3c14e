"""The scenarios: what is measured, on which servers, and with which target.

Owns: the list, opening connections, running one scenario once. Never: protocols' bytes, printing.
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from bench import connecting, mqtt_load, sparse, wamp_load
from bench.load import Load
from bench.measure import Cost, owner
from bench.servers import FoxServe, Server, ThinnestRelay
from bench.shape import WINDOW, WINDOW_ACKNOWLEDGED, WINDOW_EACH, Shape

PACE = 500.0  # messages per second in the latency scenarios
_PLACE_ATTEMPTS = 60
T = TypeVar("T", socket.socket, wamp_load.Session)


@dataclass(frozen=True)
class Scenario:
    """One scenario, which is a row of the table for each server."""

    name: str
    protocol: str  # "mqtt" or "wamp"
    run: "Run"
    shape: Shape
    serializer: wamp_load.Serializer = wamp_load.JSON
    plan: sparse.Plan | None = None
    shown: bool = False  # in the comparison with the peers; rows with a target are in any case

    @property
    def in_table(self) -> bool:
        """Whether this is a row of the comparison with the peers."""
        return self.shown or self.name in _TARGETS

    def target(self, server: str, peer: str) -> float | None:
        """The highest acceptable ratio of our server's CPU per message to the peer's, or None."""
        if peer == ThinnestRelay.name:
            return None
        targets = _TARGETS_IN_ONE_PROCESS if server == FoxServe.name else _TARGETS
        return targets.get(self.name)

    def runs_on(self, server: Server) -> bool:
        """Whether the server speaks this protocol and serializer."""
        if self.protocol == "mqtt":
            return server.mqtt is not None
        json_only = server.name == "fox-wamp"
        return server.wamp is not None and (self.serializer is wamp_load.JSON or not json_only)


@dataclass(frozen=True)
class Terms:
    """The duration of a run, and the gateways of its first two connections.

    seconds, warm: measured time, and time before it. place: "apart" (on two gateways, the usual
    case in a large broker), "same" or "any". nap: see `Load`.
    """

    seconds: float = 4.0
    warm: float = 1.0
    place: str = "apart"
    nap: float = 0.0


Run = Callable[[Scenario, Server, Terms], Cost]


def throughput(scenario: Scenario, server: Server, terms: Terms) -> Cost:
    """Publish as fast as the window allows."""
    load = _publishing(scenario, server, terms)
    try:
        return load.run(server.pids, terms.warm, terms.seconds)
    finally:
        load.close()


def latency(scenario: Scenario, server: Server, terms: Terms) -> Cost:
    """Publish PACE messages per second."""
    load = _publishing(scenario, server, terms)
    try:
        return load.paced(server.pids, PACE, terms.seconds)
    finally:
        load.close()


def calls(scenario: Scenario, server: Server, terms: Terms) -> Cost:
    """Call a procedure that returns its arguments."""
    assert server.wamp is not None
    address = server.wamp
    load = Load(scenario.shape.window, nap=terms.nap, hops=2)
    callee = wamp_load.Session(address, scenario.serializer)
    wamp_load.register(callee, "bench.echo")
    caller = _placed(
        lambda: wamp_load.Session(address, scenario.serializer), server, callee.sock, terms
    )
    wamp_load.build_call(load, caller, callee, "bench.echo", scenario.shape.window)
    try:
        return load.run(server.pids, terms.warm, terms.seconds)
    finally:
        load.close()


def now_and_then(scenario: Scenario, server: Server, terms: Terms) -> Cost:
    """Let many clients each send a message now and then; CPU is per delivery."""
    assert scenario.plan is not None
    return sparse.run(scenario.plan, server, terms.warm, terms.seconds)


def connections(scenario: Scenario, server: Server, terms: Terms) -> Cost:
    """Open connections at a steady pace; CPU is per connection."""

    def mqtt(number: int) -> socket.socket:
        assert server.mqtt is not None
        return mqtt_load.connect(server.mqtt, f"bench-connecting-{number}")

    def wamp(_: int) -> socket.socket:
        assert server.wamp is not None
        return wamp_load.Session(server.wamp, scenario.serializer).sock

    open_one = mqtt if scenario.protocol == "mqtt" else wamp
    return connecting.steady(server, open_one, terms.seconds, terms.warm)


def _publishing(scenario: Scenario, server: Server, terms: Terms) -> Load:
    return (_mqtt if scenario.protocol == "mqtt" else _wamp)(scenario, server, terms)


def _mqtt(scenario: Scenario, server: Server, terms: Terms) -> Load:
    assert server.mqtt is not None
    shape, address = scenario.shape, server.mqtt
    subscribing = []
    for number in range(shape.subscribers):
        sock = mqtt_load.connect(address, f"bench-sub-{number}")
        mqtt_load.subscribe(sock, shape.topic(number, "/"), shape.acknowledged)
        subscribing.append(sock)
    publishing = [mqtt_load.connect(address, f"bench-pub-{n}") for n in range(1, shape.publishers)]
    first = _placed(
        lambda: mqtt_load.connect(address, "bench-pub-0"), server, subscribing[0], terms
    )
    load = _load_of(shape, terms)
    mqtt_load.build(load, ([first, *publishing], subscribing), shape)
    return load


def _wamp(scenario: Scenario, server: Server, terms: Terms) -> Load:
    assert server.wamp is not None
    shape, address, serializer = scenario.shape, server.wamp, scenario.serializer
    subscribing = []
    for number in range(shape.subscribers):
        session = wamp_load.Session(address, serializer)
        wamp_load.subscribe(session, shape.topic(number, "."))
        subscribing.append(session)
    publishing = [wamp_load.Session(address, serializer) for _ in range(1, shape.publishers)]
    first = _placed(
        lambda: wamp_load.Session(address, serializer), server, subscribing[0].sock, terms
    )
    load = _load_of(shape, terms)
    wamp_load.build(load, ([first, *publishing], subscribing), shape)
    return load


def _placed(connect: Callable[[], T], server: Server, other: socket.socket, terms: Terms) -> T:
    """Connect again and again until the kernel chooses a gateway as `terms.place` demands.

    other: the connection whose gateway is compared. Raises ConnectionError.
    """
    for _ in range(_PLACE_ATTEMPTS):
        made = connect()
        sock = made if isinstance(made, socket.socket) else made.sock
        if terms.place == "any" or len(server.gateways) < 2:
            return made
        same = _gateway(server, sock) == _gateway(server, other)
        if same == (terms.place == "same"):
            return made
        sock.close()
    raise ConnectionError(f"no gateway {terms.place} in {_PLACE_ATTEMPTS} attempts")


def _load_of(shape: Shape, terms: Terms) -> Load:
    """Return an empty load for this shape.

    A message with QoS 2 passes the generator four times, any other acknowledged message twice.
    """
    hops = (1, 2, 4)[shape.acknowledged]
    window = shape.window_each * shape.publishers
    return Load(window, nap=terms.nap, fans_out=shape.fans_out, hops=hops)


def _gateway(server: Server, sock: socket.socket) -> int | None:
    return owner(server.gateways, sock.getsockname(), sock.getpeername())


def _shapes(acknowledged: int) -> dict[str, Shape]:
    window = WINDOW_ACKNOWLEDGED if acknowledged else WINDOW
    return {
        "1-1": Shape(1, 1, acknowledged, window),
        "50-1": Shape(50, 1, acknowledged, 50 * WINDOW_EACH),
        "50-50": Shape(50, 50, acknowledged, 50 * WINDOW_EACH),
        "1-100": Shape(1, 100, acknowledged, window),
    }


_TARGETS = {
    "mqtt-qos0-1-1-w1": 12.0,
    "mqtt-qos0-1-1-w16": 3.0,
    "mqtt-qos0-1-1": 0.9,
    "mqtt-qos0-latency": 6.5,
    "mqtt-qos1-1-1-w1": 7.5,
    "mqtt-qos1-1-1-w512": 0.9,
    "mqtt-qos2-1-1-w512": 0.6,
    "mqtt-qos0-50-1": 1.5,
    "mqtt-qos0-50-50": 0.9,
    "mqtt-qos0-1-100": 0.05,
    "mqtt-pairs-1000": 7.0,
    "mqtt-fan-out-1000": 1.0,
    "mqtt-connect": 4.0,
    "wamp-json-1-1": 0.6,
    "wamp-json-ack-1-1": 0.6,
    "wamp-json-call": 0.8,
    "wamp-json-1-100": 0.1,
}

_TARGETS_IN_ONE_PROCESS = {
    "mqtt-qos0-1-1-w1": 3.0,
    "mqtt-qos0-1-1": 0.6,
    "mqtt-pairs-1000": 3.0,
}


WINDOWS = (1, 4, 16, 64, 512)
"""Messages in flight in the rows that show what one message costs, and what many together do."""


def _window_rows(qos: int) -> Iterator[Scenario]:
    """Yield a row for each window that is not the usual one of this quality of service."""
    usual = _shapes(qos)["1-1"]
    for window in WINDOWS if qos < 2 else (512,):
        if window != usual.window:
            name = f"mqtt-qos{qos}-1-1-w{window}"
            shape = usual._replace(window=window)
            yield Scenario(name, "mqtt", throughput, shape, shown=True)


SPARSE_CONNECTIONS = (1_000, 10_000)
SPARSE_RATES = (500, 5_000, 20_000)
"""Messages a second in all, from clients that each send now and then."""


def _sparse_rows() -> Iterator[Scenario]:
    """Yield the rows of many clients, each with a message now and then.

    Pairs and fan-out are those of the Open MQTT Benchmark Suite's Basic Set: 16 bytes at QoS 1,
    each publisher one message a second.
    """
    plans = {
        "mqtt-pairs-1000": sparse.Plan(1_000, 1_000, 1_000.0, 1),
        "mqtt-fan-out-1000": sparse.Plan(1, 1_000, 1.0, 1),
    }
    for connections_ in SPARSE_CONNECTIONS:
        for rate in SPARSE_RATES:
            name = f"mqtt-of-{connections_}-{rate}"
            plans[name] = sparse.Plan(connections_, connections_, rate, 0, both=True)
    for name, plan in plans.items():
        yield Scenario(name, "mqtt", now_and_then, Shape(), plan=plan, shown=True)


def _mqtt_rows() -> Iterator[Scenario]:
    for qos in (0, 1, 2):
        for form, shape in _shapes(qos).items():
            if qos < 2 or form == "1-1":
                yield Scenario(f"mqtt-qos{qos}-{form}", "mqtt", throughput, shape)
        yield from _window_rows(qos)
    yield from _sparse_rows()
    yield Scenario("mqtt-qos0-latency", "mqtt", latency, Shape(), shown=True)
    yield Scenario("mqtt-connect", "mqtt", connections, Shape())


def _wamp_rows(short: str, serializer: wamp_load.Serializer) -> Iterator[Scenario]:
    def row(form: str, run: Run, shape: Shape, *, shown: bool = True) -> Scenario:
        name = f"wamp-{short}-{form}"
        return Scenario(name, "wamp", run, shape, serializer, shown=shown)

    for form, shape in _shapes(0).items():
        yield row(form, throughput, shape, shown=False)
    for window in (1, 16):
        yield row(f"1-1-w{window}", throughput, Shape(window=window))
    for window in (1, 16):
        yield row(f"ack-1-1-w{window}", throughput, Shape(acknowledged=1, window=window))
    yield row("ack-1-1", throughput, _shapes(1)["1-1"])
    for window in (1, 16):
        yield row(f"call-w{window}", calls, Shape(window=window))
    yield row("call", calls, Shape(window=WINDOW_ACKNOWLEDGED))
    yield row("latency", latency, Shape())
    yield row("connect", connections, Shape())


SCENARIOS = [
    *_mqtt_rows(),
    *_wamp_rows("json", wamp_load.JSON),
    *_wamp_rows("msgpack", wamp_load.MSGPACK),
]
