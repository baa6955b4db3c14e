"""What goes wrong with a router in an application.

Owns: the exceptions. Never: who raises them.
"""

from collections.abc import Mapping, Sequence
from typing import Any


class RouterError(Exception):
    """The router cannot start, or cannot go on, or a session in it; the message is a sentence."""


class Refused(Exception):
    """A request is answered with an error; also raised by an application's function to say one.

    uri: the error's. arguments, kwargs: those of the error; the first one is usually a sentence.
    """

    def __init__(
        self, uri: str, arguments: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{uri}: {arguments[0]}" if arguments else uri)
        self.uri = uri
        self.arguments = arguments
        self.kwargs = kwargs or {}
