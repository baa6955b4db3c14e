"""What JavaScript clients write that others do not.

Owns: how `undefined` and halves of surrogate pairs are read. Never: messages.

An option that is `undefined` is one that the program did not set. A string may be cut between two
surrogates, and `JSON.stringify` then writes each half as an escape.
"""

import re
from typing import Any, Final

from fox_shard.documents.numbers import whole


def plain(value: Any, undefined: type) -> Any:  # noqa: ANN401 (any decoded value)
    """Return a value with ints in place of whole floats, and without what is undefined.

    undefined: the type of undefined values, which are left out of dicts and are None elsewhere.
    """
    if isinstance(value, dict):
        return {
            key: plain(item, undefined)
            for key, item in value.items()
            if not isinstance(item, undefined)
        }
    if isinstance(value, list):
        return [plain(item, undefined) for item in value]
    return None if isinstance(value, undefined) else whole(value)


_LONE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def without_lone_surrogates(data: bytes) -> bytes:
    """Return a JSON message with U+FFFD for each half of a surrogate pair; `data` if it has none.

    Its other strings are the same, but may be spelled in another way.
    """
    if b"\\ud" not in data and b"\\uD" not in data:
        return data
    # So that each \\u that is left is an escape.
    unambiguous = data.replace(rb"\\", rb"\u005c")
    mended, count = _LONE.subn(rb"\\ufffd", unambiguous)
    return mended if count else data
