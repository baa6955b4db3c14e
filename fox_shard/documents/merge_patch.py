"""JSON Merge Patch (RFC 7386).

Owns: what a document is once it is patched. Never: whose document it is.
"""

from typing import Any


def merged(target: object, patch: dict[Any, Any]) -> dict[Any, Any]:
    """The target with the patch's fields, recursively; without those that are null in it.

    A target that is no object counts as an empty one. Neither is changed.
    """
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merged(result.get(name), value)
        else:
            result[name] = value
    return result
