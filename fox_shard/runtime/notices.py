"""The notices of a node, as lines of the log.

Owns: the level of each. Never: when something is worth a notice; the form of a line (see `logs`).
"""

import logging
from typing import Final

from fox_shard.backplane.node import Node

_log = logging.getLogger("fox")

TROUBLES: Final = ("refused", "store_failed", "certificate_not_read", "certificate_expired")
"""Notices that somebody has to do something about."""

WARNINGS: Final = (
    "stood_still",
    "renewed",
    "clock",
    "authorizer_failed",
    "webhook_events_dropped",
)
"""Notices that explain what clients may have noticed."""


def log_notices(node: Node) -> None:
    """Log what the node has noticed, and forget it."""
    for event, fields in node.notices:
        _log.log(_level(event), event, extra={"fox": {"process": node.name, **fields}})
    node.notices.clear()


def _level(event: str) -> int:
    if event in TROUBLES:
        return logging.ERROR
    if event in WARNINGS:
        return logging.WARNING
    return logging.DEBUG if event.startswith("session_") else logging.INFO
