"""The limits of URIs.

Owns: how long a topic or another URI may be. Never: which characters it may have (see `topics`).
"""

from fox_shard.config import Gateway as Settings
from fox_shard.errors import InvalidUri


def check_length(settings: Settings, uri: str, more: int = 0) -> None:
    """Raise InvalidUri if the URI is too long, or has too many components.

    more: bytes that will be added to it.
    """
    size, components = len(uri), settings.topic_components
    # Short URIs need not be looked at: between two components is a period, and a character has at
    # most four bytes.
    if size >= components and uri.count(".") >= components:
        sentence = f"the URI has more than {components} components"
        raise InvalidUri(sentence).beyond("topic_components")
    limit = settings.topic_length - more
    if size > limit >> 2 and len(uri.encode("utf-8", "surrogatepass")) > limit:
        raise InvalidUri(f"the URI has more than {limit} bytes").beyond("topic_length")
