"""Section [tracing]: where spans go.

Owns: the struct. Never: reading it (see `reader`).
"""

from typing import Annotated

from msgspec import Meta, Struct


class Tracing(Struct, frozen=True, kw_only=True):
    """Section [tracing]: OpenTelemetry.

    endpoint: the URL of a collector that takes OTLP over HTTP; "": spans are not made.
    """

    endpoint: Annotated[str, Meta(pattern=r"^(https?://[^\s/]+(/\S*)?)?$")] = ""
