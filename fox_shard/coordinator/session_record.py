"""The record of a session, as the coordinator knows and stores it.

Owns: its fields. Never: which sessions there are (see `sessions`).
"""

from msgspec import Struct


class SessionRecord(Struct, array_like=True, gc=False):
    """One session; the fields are those of `Join`.

    client: the MQTT client id, "" for WAMP. began: seconds since 1970. announced: whether its
    `wamp.session.on_join` has been published.
    """

    session: int
    gateway: str
    realm: str
    authid: str
    authrole: str
    authmethod: str
    authprovider: str
    protocol: str
    transport: str
    peer: str
    client: str
    began: float
    announced: bool

    @property
    def gate(self) -> str:
        """The protocol without serializer and version: `wamp` or `mqtt`."""
        return self.protocol.partition(".")[0]
