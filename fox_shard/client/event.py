"""One EVENT, as programs get it.

Owns: its fields. Never: subscriptions.
"""

from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True):
    """One EVENT.

    removed: why a key of a state stream is gone (`deleted`, `expired`, `weak` or `filter`; `missed`
    if that happened while there was no connection), or why its value is not shown (`unreadable`);
    "" if the event has a value. details: EVENT.Details.
    """

    topic: str
    publication: int
    args: list[Any]
    kwargs: dict[str, Any]
    removed: str
    details: dict[str, Any] = {}

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever was published
        """The only argument; several: their list; only keyword arguments: these; none: None."""
        if len(self.args) == 1:
            return self.args[0]
        return self.args or self.kwargs or None


def event_of(
    topic: str,
    publication: int,
    details: dict[str, Any],
    args: list[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
) -> Event:
    """Return the event of a message. topic: that of the subscription."""
    return Event(
        topic=details.get("topic", topic),
        publication=publication,
        args=args or [],
        kwargs=kwargs or {},
        removed=details.get("removed", ""),
        details=details,
    )
