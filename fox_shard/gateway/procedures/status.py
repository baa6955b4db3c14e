"""The procedure `fox.status`: how the gateway is that answers it.

Owns: its arguments and result. Never: what makes a gateway healthy. Whoever may call this procedure
is also told by the HTTP server how all processes are (see `fox_shard.web.status`).
"""

from collections.abc import Callable, Mapping
from typing import Final, final

from fox_shard.backplane.frames import Result
from fox_shard.documents.payloads import JSON, decode, encode
from fox_shard.errors import InvalidArgument
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session

STATUS: Final = "fox.status"


@final
class StatusProcedure:
    """The procedure at one gateway."""

    __slots__ = ("_calls", "_health")

    def __init__(self, calls: Calls, health: Callable[[], Mapping[str, object]]) -> None:
        """health: see `Node.health`."""
        self._calls = calls
        self._health = health
        calls.local_procedures[STATUS] = self._answer

    def _answer(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        if any(decode(encoding, args, kwargs)):
            raise InvalidArgument(f"{STATUS} has no arguments")
        # A call without arguments has no encoding; each caller can be sent JSON.
        args, kwargs = encode([dict(self._health())], {}, encoding or JSON)
        self._calls.result(Result(session.id, request, False, encoding or JSON, args, kwargs))  # noqa: FBT003
