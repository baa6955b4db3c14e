"""Scenarios of calls in several parts, and of callees that are not available.

Owns: what clients do in each, and what must be true of their calls. Each takes a seed, and raises
AssertionError with the trace.
"""

from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.fault_scenarios import fault_world
from fox_shard.testing.faults import random_fault, recover
from fox_shard.testing.quiet import become_quiet, check_no_calls_left, check_nothing_left
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

ERROR, CALL, CANCEL, RESULT, INVOCATION, INTERRUPT, YIELD = 8, 48, 49, 50, 68, 69, 70
REGISTERED: Final = 65

PROCEDURES: Final = ("one", "two", "three.x", "three.y", "a.four", "b.four")
REGISTRATIONS: Final = (
    ("one", "exact"),
    ("two", "exact"),
    ("three.", "prefix"),
    ("*.four", "exact"),
)

FAILED: Final = "app.error.failed"
UNAVAILABLE: Final = "wamp.error.unavailable"
SMOOTH: Final = frozenset((FAILED, "wamp.error.canceled", "wamp.error.timeout"))
"""The errors with which calls may end although nothing is broken."""


@dataclass(slots=True, eq=False)
class Upload:
    """A call in so many parts. answers: (kind, contents) in order of arrival."""

    procedure: str
    parts: int
    sent: int = 0
    request: int = 0
    answers: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the final answer has come."""
        return bool(self.answers) and self.answers[-1][0] != "progress"


@final
class Uploader:
    """A caller whose calls have several parts."""

    def __init__(self, world: World, gateway: int, name: str) -> None:
        self._world = world
        self.name = name
        self.uploads: list[Upload] = []
        self.client = WampClient(world, gateway, on_message=self._message)

    def send_part(self, upload: Upload) -> None:
        """Send the next part of a call, also if it has been answered meanwhile."""
        number = self.uploads.index(upload)
        options: dict[str, Any] = {"progress": True} if upload.sent + 1 < upload.parts else {}
        args = [self.name, number, upload.sent]
        if upload.sent:
            self.client.send([CALL, upload.request, options, upload.procedure, args])
        else:
            options["receive_progress"] = True
            upload.request = self.client.request(CALL, options, upload.procedure, args)
        upload.sent += 1

    def cancel(self, upload: Upload, mode: str) -> None:
        """Cancel a call, if it has begun and has not ended."""
        if upload.sent and not upload.ended:
            self.client.send([CANCEL, upload.request, {"mode": mode}])

    def _message(self, message: list[Any]) -> None:
        if message[0] == RESULT:
            _, request, details, contents = message
            self._answered(request, "progress" if details.get("progress") else "result", contents)
        elif message[0] == ERROR:
            self._answered(message[2], "error", message[4])

    def _answered(self, request: int, kind: str, contents: object) -> None:
        upload = next(one for one in self.uploads if one.request == request)
        if upload.ended:
            raise AssertionError(self._world.report(f"a second answer to {upload}"))
        upload.answers.append((kind, contents))


@final
class Collector:
    """A callee that answers with the parts that it got, or fails, or is not available.

    got: INVOCATION id -> the parts of the invocations that it has not answered.
    """

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self.got: dict[int, list[list[Any]]] = {}
        self.invocations = 0
        self.available = 1.0
        self.client = WampClient(world, gateway, on_message=self._message)

    def register(self, **options: object) -> None:
        """Register all procedures, each shared."""
        for procedure, match in REGISTRATIONS:
            self.client.register(procedure, match=match, **options)

    def _message(self, message: list[Any]) -> None:
        if message[0] == INTERRUPT:
            if self.got.pop(message[1], None) is not None and message[2]["mode"] == "kill":
                self.client.send([ERROR, INVOCATION, message[1], {}, "wamp.error.canceled"])
        elif message[0] == INVOCATION:
            self._invoked(message[1], message[3], message[4])

    def _invoked(self, request: int, details: dict[str, Any], args: list[Any]) -> None:
        rng = self._rng
        if request > self.invocations:
            self.invocations = request
            self.got[request] = []
        parts = self.got.get(request)
        if parts is None:
            return  # it has failed before its last part
        parts.append(args)
        if args != [*parts[0][:2], len(parts) - 1]:
            raise AssertionError(self._world.report(f"the parts of one invocation: {parts}"))
        if not details.get("progress"):
            del self.got[request]
            if rng.random() < self.available:
                self.client.send([YIELD, request, {}, [parts[0][:2], len(parts)]])
            else:
                self.client.send([ERROR, INVOCATION, request, {}, UNAVAILABLE])
        elif rng.random() < 0.05:
            del self.got[request]
            self.client.send([ERROR, INVOCATION, request, {}, FAILED])
        elif rng.random() < 0.2:
            self.client.send([YIELD, request, {"progress": True}, [len(parts)]])


def uploads(seed: int) -> None:
    """All parts of a call reach one callee in order, and each call has one answer, its own."""
    run = Run(fault_world(seed))
    callers, callees = _clients(run)
    _upload(run, callers, [])
    _check(run, callers, callees, expected=SMOOTH)


def uploads_with_faults(seed: int) -> None:
    """The same while processes die and links break: calls may fail, and callees get to know."""
    run = Run(fault_world(seed))
    run.smooth = False
    callers, callees = _clients(run)
    _upload(run, callers, [partial(random_fault, run) for _ in range(run.rng.choice((1, 2, 4)))])
    recover(run.world)
    _check(run, callers, callees, expected=None)


def rerouted_calls(seed: int) -> None:
    """A call goes from callee to callee until one is available, and is answered once."""
    run = Run(fault_world(seed))
    callers, callees = _clients(run, whole=True)
    for callee in callees:
        callee.available = run.rng.choice((0.0, 0.3, 0.7))
    none_available = all(callee.available == 0 for callee in callees)
    _upload(run, callers, [])
    _check(run, callers, callees, expected={"wamp.error.no_available_callee"})
    if none_available:
        ends = {one.answers[-1][0] for caller in callers for one in caller.uploads}
        run.world.check(ends == {"error"}, f"ended {ends}")


def _clients(run: Run, *, whole: bool = False) -> tuple[list[Uploader], list[Collector]]:
    """Return callers and callees that have registered. whole: all calls have one part."""
    rng, world = run.rng, run.world

    def gateway() -> int:
        return rng.randrange(world.gateways)

    callers = [Uploader(world, gateway(), f"u{number}") for number in range(3)]
    callees = [Collector(world, gateway(), rng) for _ in range(2)]
    clients = [one.client for one in callers] + [one.client for one in callees]
    world.run_until(lambda: all(client.session for client in clients))
    invoke = rng.choice(("roundrobin", "first", "random"))
    concurrency = 0 if whole else rng.choice((0, 1, 2))
    for callee in callees:
        options: dict[str, Any] = {"concurrency": concurrency} if concurrency else {}
        callee.register(invoke=invoke, **options)
    world.run_until(lambda: all(len(one.client.of(REGISTERED)) == 4 for one in callees))
    for caller in callers:
        for _ in range(8):
            parts = 1 if whole else rng.choice((1, 2, 5, 9))
            caller.uploads.append(Upload(rng.choice(PROCEDURES), parts))
    return callers, callees


def _upload(run: Run, callers: list[Uploader], faults: list[Action]) -> None:
    """Send all parts, mixed at random, and cancel some calls. faults: what breaks meanwhile."""
    rng = run.rng
    lists: list[list[Action]] = [faults]
    for caller in callers:
        for upload in caller.uploads:
            actions: list[Action] = [partial(_send_part, caller, upload)] * upload.parts
            if upload.parts > 1 and rng.random() < 0.15:
                mode = rng.choice(("skip", "kill", "killnowait"))
                actions.append(partial(caller.cancel, upload, mode))
            lists.append(actions)
    run.interleave(lists, rng.choice((0.002, 0.01)))
    run.world.run(1)


def _send_part(caller: Uploader, upload: Upload) -> None:
    # Request ids must grow, so a client that begins a call sends it at once.
    if not caller.client.closed:
        caller.send_part(upload)


def _check(
    run: Run,
    callers: list[Uploader],
    callees: list[Collector],
    expected: frozenset[str] | set[str] | None,
) -> None:
    """Check the answers, and that nothing is left. expected: possible errors; None: any."""
    world = run.world
    become_quiet(world)
    check_no_calls_left(world)
    for caller in callers:
        if not caller.client.closed:
            for number, upload in enumerate(caller.uploads):
                problem = _problem(caller, number, upload, expected)
                world.check(not problem, f"call {number} of {caller.name} {problem}: {upload}")
    for callee in callees:
        if not callee.client.closed:
            world.check(not callee.got, f"a callee waits for more parts of {callee.got}")
    for client in [one.client for one in callers] + [one.client for one in callees]:
        client.drop()
    become_quiet(world)
    check_nothing_left(world)


def _problem(
    caller: Uploader, number: int, upload: Upload, expected: frozenset[str] | set[str] | None
) -> str:
    """Return what is wrong with a call's answers; "": nothing."""
    if not upload.ended:
        return "was not answered"
    steps = [contents[0] for kind, contents in upload.answers if kind == "progress"]
    if steps != sorted(steps):
        return "has progress out of order"
    kind, contents = upload.answers[-1]
    if kind == "result" and contents != [[caller.name, number], upload.parts]:
        return "has another's result"
    if kind == "error" and expected is not None and contents not in expected:
        return f"failed with {contents}"
    return ""
