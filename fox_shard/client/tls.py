"""TLS of a client: the files that it is given, and the context that they make.

Owns: reading them. Never: sockets.
"""

import ssl
from typing import Final, NamedTuple

from fox_shard.client.failures import Unreachable


class Tls(NamedTuple):
    """Files in PEM form for TLS.

    ca: the authorities that are trusted; "": those of the system. certificate: what the client
    shows if it is asked; "": nothing. key: its private key; "": in the same file.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""


SYSTEM: Final = Tls()
"""The authorities of the system, and no certificate to show."""


def context_of(tls: Tls) -> ssl.SSLContext:
    """Return the context that has read the files. Raises Unreachable."""
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
    except OSError as error:
        raise Unreachable(f"{tls.ca} has no certificates in PEM form: {error}.") from error
    if tls.certificate:
        try:
            context.load_cert_chain(tls.certificate, tls.key or None)
        except OSError as error:
            files = " and ".join(name for name in (tls.certificate, tls.key) if name)
            raise Unreachable(
                f"{files} has no certificate with its key in PEM form: {error}."
            ) from error
    return context
