"""The clients of one run.

Owns: who takes part, and the end of a run with all its checks. Never: what they do.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import final

from fox_shard.testing.checks import check_answers, check_events
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.quiet import become_quiet, no_calls_are_left, nothing_is_left
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.rpc_checks import check_calls, check_concurrency
from fox_shard.testing.world import World

PAUSE = 0.004
"""Seconds that clients leave between two deeds, at most; many fit into the longest delay."""

Action = Callable[[], object]
"""Something that a client does."""


@final
class Run:
    """See the module. rng: of the clients' decisions, apart from the world's own chance."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = Random(f"cast {world.seed}")
        self.clients: list[RecordingClient] = []
        self.smooth = True
        world.run_until(lambda: world.linked)

    # Coming

    def wamp(self, gateway: int | None = None, realm: str = "realm1") -> RecordingWampClient:
        """A WAMP client, at that gateway or any."""
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
        """An MQTT client, at that gateway or any. will: topic and quality of service."""
        name = f"m{len(self.clients)}"
        one = RecordingMqttClient(
            self.world, self._gateway(gateway), name, client_id=client_id, will=will
        )
        self.clients.append(one)
        return one

    def _gateway(self, number: int | None) -> int:
        return self.rng.randrange(self.world.gateways) if number is None else number

    @property
    def wamps(self) -> list[RecordingWampClient]:
        """The WAMP clients."""
        return [one for one in self.clients if isinstance(one, RecordingWampClient)]

    def settle(self) -> None:
        """Until all sessions are open, and all requests are answered."""
        self.world.run_until(
            lambda: all(one.ready and not one.waiting for one in self.clients if one.here)
        )

    # Acting

    def play(self, actions: Sequence[Action], pause: float = PAUSE) -> None:
        """One after the other at random times; an actor's deeds keep their order."""
        at = self.world.now
        for action in actions:
            at += self.rng.random() * pause
            self.world.at(at, action)
        self.world.run(at - self.world.now)

    def interleave(self, parts: Sequence[Sequence[Action]], pause: float = PAUSE) -> None:
        """Several actors' deeds, mixed at random."""
        order = [number for number, part in enumerate(parts) for _ in part]
        self.rng.shuffle(order)
        left = [iter(part) for part in parts]
        self.play([next(left[number]) for number in order], pause)

    # Ending

    def finish(self) -> None:
        """Answer, again and again, the invocations whose plans say `never`."""
        self.world.run(1)
        for _ in range(30):
            for one in self.wamps:
                for invoked in one.invoked:
                    if one.here:
                        one.finish(invoked)
            self.world.run(0.15)

    def end(self, *, expected: Sequence[str] = (), calls_end: bool = True) -> None:
        """Wait for quiet, and check all that always holds. expected: see `check_calls`."""
        world = self.world
        become_quiet(world)
        if calls_end:
            no_calls_are_left(world)
        check_answers(world, self.clients)
        check_events(world, self.clients, smooth=self.smooth)
        check_calls(world, self.wamps, smooth=self.smooth, expected=expected)
        if self.smooth:
            # What a shard has forgotten, its callee may still be busy with.
            check_concurrency(world, self.wamps)

    def leave(self, others: Sequence[MqttClient | WampClient] = ()) -> None:
        """All go, and nothing of them is left. others: who is not among the people."""
        for one in self.clients:
            if one.here:
                one.leave(graceful=self.rng.random() < 0.5)
        for other in others:
            other.drop()
        become_quiet(self.world)
        nothing_is_left(self.world)
