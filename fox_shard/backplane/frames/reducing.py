"""Frames: reducers, and the events on their way to them.

Owns: the frames of reducers. Never: behaviour.

An invocation of a reducer is no `Invocation`: no caller waits for it, and its result becomes a key.
"""

from typing import TypeAlias

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Event


class RegisterReducer(Struct, array_like=True, tag=90, gc=False):
    """An instance of a reducer: gateway to every shard. Answered by `Registered` or `Refused`.

    pattern: its text. registration: the reducer's id, a hash of realm, pattern, mission and durable
    name. mission: the topic of the key; "": the event's own. durable: the name under which events
    queue up while there is no instance; "": they do not. invoke: WAMP invocation policy.
    concurrency: how many invocations of this instance may run at once. force: `force_reregister`.
    replay: the instance is told again in a new pair, and is not answered. webhook: it posts what
    waits for the webhook that is called `durable`, which shards know by their configuration.
    """

    realm: str
    session: int
    request: int
    pattern: str
    registration: int
    mission: str
    durable: str
    invoke: str
    concurrency: int
    force: bool
    replay: bool
    webhook: bool = False


class UnregisterReducer(Struct, array_like=True, tag=91, gc=False):
    """An instance unregisters: gateway to every shard. Not answered."""

    realm: str
    session: int
    registration: int


class Reduce(Struct, array_like=True, tag=92, gc=False):
    """An event for a reducer: shard to the instance's gateway.

    invocation: the shard's number for it. instance: a session. retained: encoding, args and kwargs
    of the key's present value; None: there is no key. Answered by `Reduced` or `NotReduced`.
    """

    invocation: int
    instance: int
    registration: int
    event: Event
    retained: tuple[int, bytes, bytes] | None = None


class Reduced(Struct, array_like=True, tag=93, gc=False):
    """A reducer's result: the instance's gateway to the shard of the invocation."""

    invocation: int
    encoding: int
    args: bytes


class NotReduced(Struct, array_like=True, tag=94, gc=False):
    """A reducer's ERROR: the instance's gateway to the shard of the invocation.

    timed_out: the gateway's own, since the instance has not answered for `reducer.timeout` seconds.
    """

    invocation: int
    uri: str
    encoding: int
    args: bytes
    kwargs: bytes = b""
    timed_out: bool = False


class FoldsHeld(Struct, array_like=True, tag=95, gc=False):
    """The queue of a reducer is full here (`held`), or has room again: shard to all other shards.

    While it is full, the other shards keep their events for it.
    """

    reducer: int
    held: bool


class ReducerState(Struct, array_like=True, gc=False):
    """What a shard tells of a reducer, in an `InquiryPage`.

    pattern, match: as users write them. function: of a built-in reducer. instances: present
    sessions. queued, size: number and bytes of the events that wait. oldest: seconds for which the
    oldest of them has waited. folded, failed, dropped: events since the shard's start. webhook: its
    name, if it is one. retrying: topics whose first event was not dealt with, and will be asked
    about again. next_try: seconds until the first of these. retried: how often that has happened.
    failure: the last one, in words.
    """

    pattern: str
    match: str
    mission: str
    durable: str
    function: str
    instances: int
    queued: int
    size: int
    oldest: float
    folded: int
    failed: int
    dropped: int = 0
    webhook: str = ""
    retrying: int = 0
    next_try: float = 0.0
    retried: int = 0
    failure: str = ""


ReducingFrame: TypeAlias = (
    RegisterReducer | UnregisterReducer | Reduce | Reduced | NotReduced | FoldsHeld
)
