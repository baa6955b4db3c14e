"""Which names a realm may have that is made because somebody wants to join it.

Owns: the rule. Never: which realms there are (see `gateway.sessions.realms_on_demand`).
"""

from typing import Final

from fox_shard.errors import InvalidUri
from fox_shard.topics.topic import check_topic

NAME_LENGTH: Final = 128
"""Characters of the longest name."""


def may_be_made(name: str) -> bool:
    """Whether a realm of that name may be made."""
    try:
        check_topic(name)
    except InvalidUri:
        return False
    return len(name) <= NAME_LENGTH and "@" not in name
