"""Frames: registrations, calls and invocations.

Owns: the frames of remote procedure calls and their flags. Never: behaviour.
"""

from typing import TypeAlias

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Fence, Identity

# Bits of `Call.flags`.
PROGRESS = 1
"""The caller receives progressive results (`receive_progress`)."""
DISCLOSE_CALLER = 2
"""The caller's identity is disclosed to the callee (`disclose_me`)."""
CALLER_PASSTHRU = 4
"""The caller has announced payload passthru mode, so results may use it."""
CONTINUES = 8
"""Further `Call`s with the same request follow (WAMP #rpc-progressive-call-invocations)."""
CONTINUATION = 16
"""The call has begun already; all but its arguments and CONTINUES is as in its first `Call`."""


class Register(Struct, array_like=True, tag=10, gc=False):
    """A callee's registration: gateway to home shard. Answered by `Registered` or `Refused`.

    pattern: its text. registration: its id (see `topics.ids`). invoke: WAMP invocation policy.
    concurrency: how many invocations may run at once, 0: unlimited. force: `force_reregister`.
    replay: the registration is told again in a new pair, and is not answered. disclose: the callee
    is told who calls (`disclose_caller`), which is up to its gateway. created: when the session
    registered, in seconds since 1970; 0: now. reroutes: the callee has announced call rerouting.
    """

    realm: str
    session: int
    request: int
    pattern: str
    registration: int
    invoke: str
    concurrency: int
    force: bool
    replay: bool
    disclose: bool = False
    created: float = 0.0
    reroutes: bool = False


class Registered(Struct, array_like=True, tag=11, gc=False):
    """Every shard knows of the registration: home shard to gateway."""

    session: int
    request: int
    registration: int


class Unregister(Struct, array_like=True, tag=12, gc=False):
    """A callee unregisters: gateway to home shard. Answered by `Unregistered` or `Refused`."""

    realm: str
    session: int
    request: int
    pattern: str
    registration: int


class Unregistered(Struct, array_like=True, tag=13, gc=False):
    """The registration is gone, as requested: home shard to gateway."""

    session: int
    request: int


class Revoked(Struct, array_like=True, tag=14, gc=False):
    """The router took a registration away (`force_reregister`): home shard to gateway."""

    session: int
    registration: int
    reason: str


class PatternAnnounced(Struct, array_like=True, tag=15, gc=False):
    """A pattern is registered (or, with `gone`, no longer): home shard to all other shards."""

    realm: str
    pattern: str
    gone: bool


class Call(Struct, array_like=True, tag=20, gc=False):
    """A call: the caller's gateway to the procedure's shard (or the coordinator).

    timeout: milliseconds, 0: none. order: as in `Publish`. caller: who calls, None: ANONYMOUS; the
    callee is told if the caller (DISCLOSE_CALLER) or the callee (`Register.disclose`) wants it.
    attributes: as in `Publish`, here and in the answers.
    Answered by any number of progressive `Result`s (if PROGRESS), then one `Result` or `CallError`;
    a `CallMoved` before that names another shard, which answers instead.
    """

    realm: str
    procedure: str
    session: int
    request: int
    order: int
    flags: int
    timeout: int
    encoding: int
    args: bytes
    kwargs: bytes = b""
    caller: Identity | None = None
    fence: Fence | None = None
    attributes: bytes | None = None


class Invocation(Struct, array_like=True, tag=21, gc=False):
    """A call on its way to a callee: shard to the callee's gateway.

    invocation: the shard's number for it. callee: a session. Answered by `Yield`s or
    `InvocationError`. With CONTINUATION in the call's flags, it continues that invocation.
    """

    invocation: int
    callee: int
    registration: int
    call: Call


class Yield(Struct, array_like=True, tag=22, gc=False):
    """A callee's result: the callee's gateway to the shard of the invocation."""

    invocation: int
    progress: bool
    encoding: int
    args: bytes
    kwargs: bytes = b""
    attributes: bytes | None = None


class InvocationError(Struct, array_like=True, tag=23, gc=False):
    """A callee's ERROR: the callee's gateway to the shard of the invocation.

    reroute: the callee wants another callee to be asked (WAMP #rpc-call-rerouting).
    """

    invocation: int
    uri: str
    encoding: int
    args: bytes
    kwargs: bytes = b""
    attributes: bytes | None = None
    reroute: bool = False


class Result(Struct, array_like=True, tag=24, gc=False):
    """A call's result: shard (or coordinator) to the caller's gateway."""

    session: int
    request: int
    progress: bool
    encoding: int
    args: bytes
    kwargs: bytes = b""
    attributes: bytes | None = None


class CallError(Struct, array_like=True, tag=25, gc=False):
    """A call's failure, its final answer: shard (or coordinator) to the caller's gateway."""

    session: int
    request: int
    uri: str
    encoding: int
    args: bytes
    kwargs: bytes = b""
    attributes: bytes | None = None


class Cancel(Struct, array_like=True, tag=26, gc=False):
    """A caller cancels: gateway to the shard that answers the call.

    mode: `skip`, `kill` or `killnowait`.
    """

    session: int
    request: int
    mode: str


class Interrupt(Struct, array_like=True, tag=27, gc=False):
    """The call of an invocation was canceled, or has timed out: shard to the callee's gateway.

    mode: `kill` (the callee's answer is awaited), `killnowait`, or `skip` (the callee is not told).
    reason: URI, e.g. `wamp.error.canceled` or `wamp.error.timeout`. over: the shard has ended the
    invocation, whether or not the callee answers.
    """

    invocation: int
    callee: int
    mode: str
    reason: str
    over: bool = False


class Forward(Struct, array_like=True, tag=28, gc=False):
    """A call that matches a pattern registration: procedure's shard to the pattern's home.

    gateway: the caller's, which the home answers directly. pattern: the registration's text.
    """

    gateway: str
    pattern: str
    call: Call


class CallMoved(Struct, array_like=True, tag=29, gc=False):
    """Another shard, in its present incarnation, answers the call: procedure's shard to gateway."""

    session: int
    request: int
    shard: int
    incarnation: int


CallFrame: TypeAlias = (
    Register
    | Registered
    | Unregister
    | Unregistered
    | Revoked
    | PatternAnnounced
    | Call
    | Invocation
    | Yield
    | InvocationError
    | Result
    | CallError
    | Cancel
    | Interrupt
    | Forward
    | CallMoved
)
"""The frames of this module, in the order of their tags."""
