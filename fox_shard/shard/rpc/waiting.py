"""Calls that a shard keeps: those that wait for a callee, and those that may go to another one.

Owns: how many there are, how many bytes they take, and when there are too many. Never: the order in
which calls wait (see `procedures`), callees.
"""

from typing import Final, final

from fox_shard.backplane.frames import Call
from fox_shard.config import Rpc
from fox_shard.errors import QueueFull
from fox_shard.shard.queue_quota import LIMIT, QueueQuotas
from fox_shard.shard.rpc.procedures import PendingCall, Procedure

OVERHEAD: Final = 500
"""Bytes that each call that is kept counts for in addition to what its client has sent."""


@final
class KeptCalls:
    """The calls that one shard keeps.

    queued, queued_bytes: the number and the bytes of calls that wait for a callee. copied_bytes:
    the bytes of calls that a callee has, and that may be rerouted.
    """

    __slots__ = ("_quotas", "_settings", "copied_bytes", "queued", "queued_bytes")

    def __init__(self, settings: Rpc, quotas: QueueQuotas) -> None:
        """quotas: of the realms, for all that waits at the shard."""
        self._settings = settings
        self._quotas = quotas
        self.queued = self.queued_bytes = self.copied_bytes = 0

    def full(self, call: Call, procedure: Procedure) -> QueueFull | None:
        """Return why the call cannot wait for a callee; None: it can."""
        if len(procedure.queue) >= self._settings.queue_limit:
            waiting = f"{len(procedure.queue)} calls wait for {call.procedure} already"
            return _full("queue_limit", waiting)
        return self._too_many_bytes(call, procedure.realm)

    def full_for_more(self, call: Call, pending: PendingCall) -> QueueFull | None:
        """Return why one more part of a progressive call cannot wait; None: it can."""
        limit = self._settings.queued_parts
        if len(pending.more or ()) >= limit:
            return _full("queued_parts", f"{limit} further parts of the call wait already")
        return self._too_many_bytes(call, pending.procedure.realm)

    def _too_many_bytes(self, call: Call, realm: str) -> QueueFull | None:
        size = _size(call)
        if self.queued_bytes + size > self._settings.queue_bytes:
            return _full("queue_bytes", f"{self.queued_bytes} bytes of calls wait already")
        excess = self._quotas.excess(realm, size)
        return _full(LIMIT, excess) if excess else None

    def wait(self, call: Call, procedure: Procedure) -> None:
        """Note that the call waits for a callee."""
        self.queued += 1
        self._count(_size(call), procedure)

    def _count(self, size: int, procedure: Procedure) -> None:
        self.queued_bytes += size
        self._quotas.add(procedure.realm, size)

    def wait_for_more(self, call: Call, pending: PendingCall) -> None:
        """Let one more part of a progressive call wait behind its first."""
        if pending.more is None:
            pending.more = []
        pending.more.append(call)
        self._count(_size(call), pending.procedure)

    def taken(self, pending: PendingCall) -> list[Call]:
        """Note that the call does not wait any more; return its parts."""
        call = pending.waiting
        assert call is not None
        parts = [call, *(pending.more or ())]
        pending.waiting = pending.more = None
        self.queued -= 1
        self._count(-sum(map(_size, parts)), pending.procedure)
        return parts

    def copy(self, call: Call, pending: PendingCall) -> None:
        """Keep a call that a callee gets, as it may go to another one, if there is room for it."""
        if self.copied_bytes + _size(call) <= self._settings.queue_bytes:
            pending.copy = call
            self.copied_bytes += _size(call)

    def drop_copy(self, pending: PendingCall) -> None:
        """Forget the call's arguments: it does not go to another callee. Idempotent."""
        if pending.copy is not None:
            self.copied_bytes -= _size(pending.copy)
            pending.copy = None


def _size(call: Call) -> int:
    """Return the bytes that a call counts for."""
    size = OVERHEAD + len(call.procedure) + len(call.args) + len(call.kwargs)
    return size + len(call.attributes or b"")


def _full(limit: str, why: str) -> QueueFull:
    refusal = QueueFull(f"{why}: call again later, or register more callees")
    refusal.limit = limit
    return refusal
