"""JSON Merge Patch (RFC 7386).

Owns: the result of a patch. Never: where document and patch come from.
"""

from typing import Any


def merged(target: object, patch: dict[Any, Any]) -> dict[Any, Any]:
    """Return the target merged with the patch, whose null fields remove fields of the target.

    A target that is not an object counts as an empty one. Both arguments stay unchanged.
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
