"""Callees that have left while they were busy.

Owns: when their calls are refused: there may be very many. Never: how a call ends (see
`invocations`); what becomes of their registrations (see `registrar`).
"""

from itertools import islice
from typing import final

from fox_shard.shard.budget import Budget
from fox_shard.shard.rpc.invocations import Invocations
from fox_shard.shard.rpc.procedures import Callee


@final
class LeftCallees:
    """The callees of one shard whose sessions have ended, until their calls are refused."""

    __slots__ = ("_budget", "_invocations", "_left")

    def __init__(self, invocations: Invocations, budget: Budget) -> None:
        """budget: the turn's."""
        self._invocations = invocations
        self._budget = budget
        self._left: dict[Callee, None] = {}

    def callee_left(self, callee: Callee) -> None:
        """Refuse the calls that the callee was busy with: its session has ended.

        There may be very many, so this may happen in `go_on`. Idempotent. Not called when a callee
        merely unregisters, since it may still answer.
        """
        if callee.running:
            self._left[callee] = None
            self._go_on()

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return bool(self._left)

    def go_on(self, _now: float) -> None:
        """Refuse the calls of callees that have left, as far as the turn's budget goes."""
        self._go_on()

    def _go_on(self) -> None:
        budget, left = self._budget, self._left
        while left and not budget.exhausted:
            callee = next(iter(left))
            for pending in list(islice(callee.running.values(), budget.left)):
                budget.spend(1)
                self._invocations.callee_left(pending)
            if not callee.running:
                del left[callee]
