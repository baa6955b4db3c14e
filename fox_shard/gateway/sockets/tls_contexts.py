"""What the listeners of a gateway use for their next TLS connections.

Owns: one context for each listener that encrypts, and replacing them all while the server runs.
Never: the files' contents (see `certificates`).
"""

import ssl
from collections.abc import Sequence
from typing import final

from fox_shard.backplane.node import Notice
from fox_shard.config import Listener
from fox_shard.gateway.sockets.certificates import (
    CertificateError,
    expiry,
    is_expired,
    make_context,
)


@final
class TlsContexts:
    """The contexts, by the number of the section [[listener]]."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        """Read the files. Raises CertificateError."""
        self._listeners = [one for one in enumerate(listeners) if one[1].encrypts]
        self._contexts: dict[int, ssl.SSLContext] = {}
        for number, listener in self._listeners:
            self._contexts[number] = make_context(listener, _place(number))

    def of(self, number: int) -> ssl.SSLContext:
        """Return the context for a new connection of that listener."""
        return self._contexts[number]

    def reload(self) -> list[Notice]:
        """Read the files again, for new connections; return what to log.

        A listener whose files are not usable keeps what it has.
        """
        notices: list[Notice] = []
        for number, listener in self._listeners:
            try:
                context = make_context(listener, _place(number))
            except CertificateError as error:
                notices.append(("certificate_not_read", {"reason": str(error)}))
            else:
                self._contexts[number] = context
                notices.append(("certificate_read", self._about(number, listener)))
        return notices

    def expired(self, wall: float) -> list[Notice]:
        """Return what to log of certificates that are valid no more. wall: seconds since 1970."""
        return [
            ("certificate_expired", self._about(number, listener))
            for number, listener in self._listeners
            if is_expired(expiry(listener, _place(number)), wall)
        ]

    @staticmethod
    def _about(number: int, listener: Listener) -> dict[str, object]:
        until = expiry(listener, _place(number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"listener": _place(number), "file": listener.certificate, "until": until}


def _place(number: int) -> str:
    return f"listener[{number}]"
