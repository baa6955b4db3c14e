"""Numbers, as the clients of several languages write them.

Owns: which floats are integers. Never: an encoding.
"""

from typing import Any, Final

_LARGEST: Final = 1 << 53
"""The largest number up to which JavaScript's numbers are exact integers."""


def whole(value: Any) -> Any:  # noqa: ANN401 (any decoded value)
    """Return a float that is a whole number as an int, and any other value as it is.

    JavaScript has one type of number, and some serializers write integers beyond 32 bits as floats.
    """
    if type(value) is float and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    return value
