"""Section [metrics]: what Prometheus reads.

Owns: the struct, and what contradicts itself in it. Never: reading it (see `reader`).
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Metrics(Struct, frozen=True, kw_only=True):
    """Section [metrics]: `/metrics` at web.address.

    access: who may read them: programs of this machine ("local"), whoever reaches the address
    ("all"), who shows the token ("token"), or nobody ("off"). token: a file with a token, which may
    be shown from anywhere; "": there is none. interval: seconds between two reports of a process.
    realms: those that have values of their own.
    """

    access: Literal["local", "all", "token", "off"] = "local"
    token: Annotated[str, Meta(pattern=r"^[^\x00]*$")] = ""
    interval: Annotated[float, Meta(ge=0.1, le=3600.0)] = 5.0
    realms: Annotated[int, Meta(ge=1, le=10_000)] = 100


def contradiction(metrics: Metrics) -> str:
    """Return what is wrong with the section, in words; "": nothing."""
    if metrics.access == "token" and not metrics.token:
        return 'metrics.access is "token", so metrics.token must name a file.'
    return ""
