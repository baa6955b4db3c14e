"""Refusals for publishers that may not see the key which they patch.

Owns: what they are told. Never: who may see what (see the gateway's `guard`).
"""

from fox_shard.errors import InvalidPayload, LimitExceeded, Refusal


def without_contents(refusal: Refusal) -> Refusal:
    """Return a refusal of a patch that tells nothing of what is stored."""
    if isinstance(refusal, LimitExceeded):
        sentence = "the patched key would be larger than a message may be: the key is unchanged"
        return LimitExceeded(sentence).beyond(refusal.limit)
    if isinstance(refusal, InvalidPayload):
        return InvalidPayload("the key, patched with this document, would not be valid")
    # All others are about the request, or about the schema.
    return refusal
