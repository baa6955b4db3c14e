"""Questions about keys, as a gateway asks the shards: what there is, without values.

Owns: their form. Never: the procedures' arguments (see `gateway.procedures.key_list`), keys.
"""

from typing import Final

from msgspec import Struct, msgpack

from fox_shard.backplane.frames.publishing import Audience

KEYS: Final = "keys"
"""The kind of an `Inquiry` whose body is a `KeysQuery`: the keys that match, by topic."""

LEVEL: Final = "level of keys"
"""The kind of an `Inquiry` whose body is a `KeysQuery`: what is one level below a topic.

An item whose key ends with a dot is a branch, and its value is the number of keys below, in
msgpack. Others are keys, and so is the topic above with a dot, which has an empty last component.
"""


class KeysQuery(Struct, array_like=True, gc=False):
    """Which keys are wanted, in the order of their topics.

    topic, match: a pattern; of a level, the topic above it, "": the first level. after: the topic
    beyond which keys are wanted. contains: a text that the topics contain. owned: only keys that
    end with a session, or have waiting publishes.
    """

    topic: str
    match: str = "prefix"
    after: str = ""
    contains: str = ""
    owned: bool = False


class KeyState(Struct, array_like=True, gc=False):
    """A key without its value.

    session: the publisher, 0: the router. size: bytes of the value. expires: seconds since 1970, 0:
    never. weak, will: how the key ends with that session. reduced: a reducer has made the value.
    waiters: how many publishes wait for the key; waiting: the sessions of the first of them.
    """

    publication: int
    session: int
    size: int
    expires: float = 0.0
    weak: bool = False
    will: bool = False
    private: bool = False
    reduced: bool = False
    audience: Audience | None = None
    waiters: int = 0
    waiting: list[int] = []


encode: Final = msgpack.Encoder().encode
decode_query: Final = msgpack.Decoder(KeysQuery).decode
decode_state: Final = msgpack.Decoder(KeyState).decode
