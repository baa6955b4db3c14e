"""The documents of publications, each decoded once.

Owns: which documents are kept decoded, and for how long. Never: what is asked of a document.

A document may be large, and thousands of conditions and filters may ask for it. So it is decoded
when it is first asked for, and kept until the end of the turn.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, final

from fox_shard.backplane.frames import Publish
from fox_shard.documents.filters import Document
from fox_shard.documents.payloads import document
from fox_shard.errors import InvalidPayload
from fox_shard.shard.budget import Budget, units_of

Documents = Callable[[Publish], Document | None]
"""Returns a publication's document, or None if it has none. Raises InvalidPayload."""

KEPT_BYTES: Final = 1 << 20
"""Bytes of encoded payloads whose documents are kept. The last two are kept whatever their sizes,
since a change of a key has a value before and one after."""


class _Decoded(NamedTuple):
    """A decoded document. args, kwargs: the payload, which keeps their ids from being used again.

    error: why the payload cannot be read, "": it can.
    """

    args: bytes
    kwargs: bytes
    document: Document | None
    error: str


@final
class DecodedDocuments:
    """The decoded documents of one shard's present turn."""

    __slots__ = ("_budget", "_kept", "_size")

    def __init__(self, budget: Budget) -> None:
        """budget: the turn's, which pays for the decoding."""
        self._budget = budget
        # (encoding, identity of args, identity of kwargs) -> document, the oldest first. Payloads
        # are immutable and are shared by all copies of a publish.
        self._kept: dict[tuple[int, int, int], _Decoded] = {}
        self._size = 0

    def document(self, encoding: int, args: bytes, kwargs: bytes) -> Document | None:
        """Return the payload's document, which must not be changed; None: it has none.

        Raises InvalidPayload.
        """
        key = (encoding, id(args), id(kwargs))
        decoded = self._kept.get(key)
        if decoded is None:
            self._budget.spend(units_of(len(args) + len(kwargs)))
            decoded = _decode(encoding, args, kwargs)
            self._keep(key, decoded)
        if decoded.error:
            raise InvalidPayload(decoded.error)
        return decoded.document

    def _keep(self, key: tuple[int, int, int], decoded: _Decoded) -> None:
        self._kept[key] = decoded
        self._size += _size(decoded)
        while self._size > KEPT_BYTES and len(self._kept) > 2:
            self._size -= _size(self._kept.pop(next(iter(self._kept))))

    def clear(self) -> None:
        """Forget all documents, since they take far more memory than their payloads."""
        self._kept.clear()
        self._size = 0


def _decode(encoding: int, args: bytes, kwargs: bytes) -> _Decoded:
    try:
        return _Decoded(args, kwargs, document(encoding, args, kwargs), "")
    except InvalidPayload as error:
        return _Decoded(args, kwargs, None, error.message)


def _size(decoded: _Decoded) -> int:
    return len(decoded.args) + len(decoded.kwargs) + 100
