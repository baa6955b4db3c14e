"""Scenarios of webhooks, while processes die, connections break and disks fail.

Owns: what happens in each, and what must be true of what was posted. Each takes a seed, and raises
AssertionError with the trace. The workers are `ReducingClient`s: showing them an event stands for a
request, and what they answer for what has come of it.
"""

from functools import partial
from random import Random

from fox_shard.config import Reducers, Webhook
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import fail_disk, kill, kill_a_shard, random_fault, relink
from fox_shard.testing.publishers import publishing
from fox_shard.testing.quiet import become_quiet, reducers_are_idle
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.reducing_client import ReducingClient, Shown
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

TOPICS = tuple(f"post.{name}" for name in "uvwxyz")
EVENT = 36
NAME = "w"
TIMEOUT = 2.0
ABOUT = ("starts", "killed", "disk", "severed")


class _Posting:
    """A run with publishers of numbered events, and workers that post those of one webhook."""

    def __init__(self, seed: int, *, queue_limit: int = 1000) -> None:
        rng = Random(f"world {seed}")
        webhook = Webhook(
            name=NAME, topic="post.#", url="https://example.com/", queue_limit=queue_limit
        )
        self.run = Run(
            World(
                seed,
                gateways=rng.choice((2, 3)),
                shards=rng.choice((1, 2, 4)),
                max_delay=rng.choice((0.005, 0.02, 0.05)),
                reducer=Reducers(timeout=TIMEOUT),
                webhooks=(webhook,),
            )
        )
        self.run.smooth = False
        # Whether what was acknowledged may be missing, as a full queue takes no more.
        self.drops_events = False
        self.publishers: list[RecordingClient] = [
            self.run.wamp(),
            self.run.mqtt(),
            self.run.wamp(),
        ]
        self.run.settle()
        self.workers: list[ReducingClient] = []

    def let_workers_come(self) -> None:
        """Start the workers; what is published before waits for them."""
        rng = self.run.rng
        self.workers = [
            ReducingClient(
                self.run.world,
                f"w{number}",
                "post.#",
                {"webhook": NAME, "invoke": "roundrobin", "concurrency": rng.choice((1, 3, 100))},
                delay=rng.choice((0.0, 0.01, 0.1)),
            )
            for number in range(rng.choice((1, 1, 2)))
        ]

    def publishing(self, times: int) -> list[list[Action]]:
        """Return the actions of all publishers."""
        return publishing(self.publishers, TOPICS, times, self.run.rng)

    def _drop_a_worker(self) -> None:
        if self.workers:
            self.run.rng.choice(self.workers).drop()

    def leaving_workers(self) -> list[Action]:
        """Return actions in which workers come, and lose their connections."""
        drops = self.run.rng.choice((0, 1, 3))
        return [self.let_workers_come, *([self._drop_a_worker] * drops)]

    def finish(self) -> None:
        """Wait until nothing waits any more, and check what was posted."""
        world = self.run.world
        relink(world)
        world.run_until(lambda: all(one.registered for one in self.workers))
        world.run_until(lambda: reducers_are_idle(world), 200)
        become_quiet(world)
        self._check_posted()
        self._check_order()
        self._check_keys()
        for one in self.workers:
            one.leave()
        become_quiet(world)
        self.run.leave()

    # Checks

    def _posted(self) -> list[Shown]:
        shown = [one for worker in self.workers for one in worker.shown]
        return sorted(shown, key=lambda one: (one.at, one.publication))

    def _check_posted(self) -> None:
        """Check that what was acknowledged was posted at least once, and what was refused never."""
        posted = {one.event for one in self._posted()}
        for publisher in self.publishers:
            for one in publisher.sent:
                event = (publisher.name, one.number)
                if one.refused:
                    self.run.world.check(event not in posted, f"{event} was refused", ABOUT)
                elif one.answers and not self.drops_events:
                    self.run.world.check(event in posted, f"{event} was not posted", ABOUT)

    def _check_order(self) -> None:
        """Check that the events of a topic were posted in the order of publishing."""
        for topic in TOPICS:
            first = list(
                dict.fromkeys(one.publication for one in self._posted() if one.topic == topic)
            )
            what = f"{first} were posted of {topic}: not in order"
            self.run.world.check(first == sorted(first), what, ABOUT)

    def _check_keys(self) -> None:
        """Check that there is no key, and that none was shown."""
        world = self.run.world
        reader = WampClient(world, world.rng.choice(world.running_gateways))
        world.run_until(lambda: reader.session > 0)
        reader.subscribe("post.#", get_retained=True)
        world.run(0.5)
        keys = [message[3] for message in reader.of(EVENT)]
        world.check(not keys, f"there are the keys {keys}", ABOUT)
        shown = [one for one in self._posted() if one.retained is not None]
        world.check(not shown, f"a key was shown: {shown}", ABOUT)
        reader.leave()
        world.run(0.5)


# Scenarios


def webhooks_post(seed: int) -> None:
    """What was acknowledged is posted, in order, whatever is killed, cut or lost."""
    posting = _Posting(seed)
    run = posting.run
    faults: list[Action] = [partial(random_fault, run) for _ in range(run.rng.choice((1, 2, 4)))]
    faults += [partial(kill_a_shard, run.world, run.rng) for _ in range(run.rng.choice((0, 1, 2)))]
    run.interleave(
        [*posting.publishing(30), faults, posting.leaving_workers()],
        run.rng.choice((0.001, 0.01)),
    )
    posting.finish()


def webhooks_on_a_failing_disk(seed: int) -> None:
    """What could not be stored is refused and never posted; what could be is posted."""
    posting = _Posting(seed)
    run = posting.run
    world, rng = run.world, run.rng
    shard = rng.choice([name for name in world.disks if name.startswith("shard")])
    faults: list[Action] = [
        partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0)))
        for _ in range(rng.choice((1, 2)))
    ]
    others = [name for name in world.names if name != shard]
    faults += [partial(kill, world, rng.choice(others), rng) for _ in range(rng.choice((0, 1)))]
    run.interleave(
        [*posting.publishing(30), faults, posting.leaving_workers()], rng.choice((0.001, 0.01))
    )
    world.run(3.0)
    posting.finish()


def webhooks_with_full_queues(seed: int) -> None:
    """A full queue refuses nobody, and what it has taken is posted in order."""
    posting = _Posting(seed, queue_limit=5)
    posting.drops_events = True
    run = posting.run
    run.interleave(posting.publishing(30), 0.001)
    for publisher in posting.publishers:
        refused = [one.refused for one in publisher.sent if one.refused]
        run.world.check(not refused, f"{publisher.name} was refused: {refused}")
    kill_a_shard(run.world, run.rng)
    posting.let_workers_come()
    posting.finish()
