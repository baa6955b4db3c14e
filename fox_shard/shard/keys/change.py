"""The change of a key.

Owns: what is known of a change. Never: what causes one; who is told of it.
"""

from msgspec import Struct

from fox_shard.backplane.frames import COMPUTED, Event
from fox_shard.shard.rows import KeyRef

DELETED, EXPIRED, WEAK = "deleted", "expired", "weak"
"""Why a key was removed; see `KeyChange.removed`."""


class KeyChange(Struct, gc=False):
    """The step of a key from one value to the next, or to no value.

    before, after: the values, None where there is no key; never both None. event: the publication
    that caused the change; None: the key expired, or its session ended. publication: the event's
    id, or else a new one; greater than that of the key's previous change. removed: why the key is
    gone (`DELETED`, `EXPIRED` or `WEAK`), "": it exists. uncommitted: the change is part of the
    present transaction, and fails with it. unannounced: the change has a row until gateways have
    confirmed it (see the module `unannounced`). reduced: the id of the event from which a reducer
    made the change; 0: no reducer did. Then `event` is None, as the event had its effect earlier.
    """

    ref: KeyRef
    publication: int
    event: Event | None
    before: Event | None
    after: Event | None
    removed: str = ""
    uncommitted: bool = False
    unannounced: bool = False
    reduced: int = 0

    @property
    def computed(self) -> bool:
        """Whether the shard itself has made the event."""
        return self.event is not None and self.event.publish.flags & COMPUTED > 0
