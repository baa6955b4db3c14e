"""One run of the simulator: a world with recording clients.

Owns: the clients, the timing of their actions, the checks at the end. Never: which actions.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import final

from fox_shard.testing.checks import check_answers, check_events
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.quiet import become_quiet, check_no_calls_left, check_nothing_left
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.rpc_checks import check_calls, check_concurrency
from fox_shard.testing.world import World

PAUSE = 0.004
"""Maximum seconds between two actions, so that many of them fit into the longest delay."""

Action = Callable[[], object]
"""An action of a client, or a fault."""


@final
class Run:
    """A world and its recording clients.

    rng: decides what clients do, independently of the world's randomness. smooth: no process is
    killed, no connection broken, no batch lost; scenarios with faults set this to False.
    """

    def __init__(self, world: World) -> None:
        """Wait until all processes are linked."""
        self.world = world
        self.rng = Random(f"cast {world.seed}")
        self.clients: list[RecordingClient] = []
        self.smooth = True
        world.run_until(lambda: world.linked)

    # Clients

    def wamp(self, gateway: int | None = None, realm: str = "realm1") -> RecordingWampClient:
        """Add a WAMP client at that gateway; None: at a random one."""
        one = RecordingWampClient(
            self.world, self._gateway(gateway), f"w{len(self.clients)}", realm
        )
        self.clients.append(one)
        return one

    def mqtt(
        self,
        gateway: int | None = None,
        *,
        client_id: str = "",
        will: tuple[str, int] | None = None,
    ) -> RecordingMqttClient:
        """Add an MQTT client at that gateway; None: at a random one. will: topic and QoS."""
        name = f"m{len(self.clients)}"
        one = RecordingMqttClient(
            self.world, self._gateway(gateway), name, client_id=client_id, will=will
        )
        self.clients.append(one)
        return one

    def _gateway(self, number: int | None) -> int:
        return self.rng.randrange(self.world.gateways) if number is None else number

    @property
    def wamp_clients(self) -> list[RecordingWampClient]:
        """The clients that speak WAMP."""
        return [one for one in self.clients if isinstance(one, RecordingWampClient)]

    def settle(self) -> None:
        """Wait until all connected clients have open sessions and no unanswered requests."""
        self.world.run_until(
            lambda: all(one.ready and not one.waiting for one in self.clients if one.connected)
        )

    # Actions

    def perform(self, actions: Sequence[Action], pause: float = PAUSE) -> None:
        """Perform the actions in order, at random times at most `pause` seconds apart."""
        at = self.world.now
        for action in actions:
            at += self.rng.random() * pause
            self.world.at(at, action)
        self.world.run(at - self.world.now)

    def interleave(self, parts: Sequence[Sequence[Action]], pause: float = PAUSE) -> None:
        """Perform several lists of actions, mixed at random; each list keeps its order."""
        order = [number for number, part in enumerate(parts) for _ in part]
        self.rng.shuffle(order)
        left = [iter(part) for part in parts]
        self.perform([next(left[number]) for number in order], pause)

    # The end

    def finish(self) -> None:
        """Answer all invocations whose plans say `never`, also those that arrive meanwhile."""
        self.world.run(1)
        for _ in range(30):
            for one in self.wamp_clients:
                for invoked in one.invoked:
                    if one.connected:
                        one.finish(invoked)
            self.world.run(0.15)

    def end(self, *, expected: Sequence[str] = (), calls_end: bool = True) -> None:
        """Wait until nothing happens any more, and check everything that always holds.

        expected: see `check_calls`. calls_end: no call may be left. Raises AssertionError.
        """
        world = self.world
        become_quiet(world)
        if calls_end:
            check_no_calls_left(world)
        check_answers(world, self.clients)
        check_events(world, self.clients, smooth=self.smooth)
        check_calls(world, self.wamp_clients, smooth=self.smooth, expected=expected)
        if self.smooth:
            # In other worlds, a callee may be busy with calls that a killed shard has forgotten.
            check_concurrency(world, self.wamp_clients)

    def leave(self, others: Sequence[MqttClient | WampClient] = ()) -> None:
        """Have all clients leave, and check that no process keeps anything of them.

        others: clients that do not belong to this run, which are dropped too.
        """
        for one in self.clients:
            if one.connected:
                one.leave(graceful=self.rng.random() < 0.5)
        for other in others:
            other.drop()
        become_quiet(self.world)
        check_nothing_left(self.world)
