"""Arguments of keywords that hold no schema: which there can be, and what each weighs.

Owns: the patterns, formats and numbers of schemas; the parts as which an argument counts.
Never: schemas within schemas (see `keywords`), the comparison of a value with them.

A validator has a copy of each argument, and compares values with it. So an argument counts for more
the larger it is: a pattern by the program that searches for it, lists and texts by their length.
"""

from typing import Final

import jsonschema_rs

from fox_shard.tables.mistakes import SchemaError, shown, suggestion

_DFA: Final = 1 << 20

PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 18, dfa_size_limit=_DFA)
"""How patterns are searched for: in linear time, by programs of at most 256 KiB."""

_SMALL_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 14, dfa_size_limit=_DFA)
_SMALL_PATTERN_WEIGHT: Final = 10
_PATTERN_WEIGHT: Final = 160

_MULTIPLE_WEIGHT: Final = 50
"""`multipleOf` divides exactly, with as many digits as the numbers have."""

_LEAST_MULTIPLE: Final = 1e-30

_VALUES_PER_PART: Final = 10
_BYTES_PER_VALUE: Final = 64
"""What makes a part of an argument: so many values. So many bytes of a text are one more."""

_LARGEST: Final = 10**100

_TYPES: Final = ("string", "integer", "number", "boolean", "object", "array", "null")


def check_simple(keyword: str, argument: object, path: str) -> int:
    """Check a keyword that holds no schema, and return its weight. Raises SchemaError."""
    if keyword == "pattern":
        return pattern_weight(argument, path)
    if keyword == "format":
        _check_format(argument, path)
    if keyword == "type":
        _check_type(argument, path)
    values = check_numbers(argument, path)
    if keyword == "multipleOf":
        if isinstance(argument, int | float) and 0 < argument < _LEAST_MULTIPLE:
            raise SchemaError(path, f"multipleOf is at least {_LEAST_MULTIPLE:g}")
        return _MULTIPLE_WEIGHT
    return values // _VALUES_PER_PART


def pattern_weight(pattern: object, path: str) -> int:
    """Check a pattern, and return its weight. Raises SchemaError."""
    if not isinstance(pattern, str):
        raise SchemaError(path, f"a pattern is a text, not {shown(pattern)}")
    if _compiles(pattern, _SMALL_PATTERNS):
        return _SMALL_PATTERN_WEIGHT
    if _compiles(pattern, PATTERNS):
        return _PATTERN_WEIGHT
    raise SchemaError(
        path,
        f"{shown(pattern)} is no regular expression that can be searched for in linear time"
        " (without look-around and back-references, and not too large)",
    )


def _compiles(pattern: str, options: jsonschema_rs.RegexOptions) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options)
    except ValueError:
        return False
    return True


def _check_type(argument: object, path: str) -> None:
    for name in argument if isinstance(argument, list) else [argument]:
        if isinstance(name, str) and name not in _TYPES:
            raise SchemaError(path, f"there is no type {shown(name)}{suggestion(name, _TYPES)}")


def _check_format(name: object, path: str) -> None:
    if name == "regex":
        raise SchemaError(path, "the format regex is not checked")
    try:
        jsonschema_rs.Draft202012Validator(
            {"format": name}, validate_formats=True, ignore_unknown_formats=False
        )
    except ValueError:
        raise SchemaError(path, f"there is no format {shown(name)}") from None


def check_numbers(argument: object, path: str) -> int:
    """Refuse numbers that no JSON reader can hold; return how many values there are within.

    The argument's depth is bounded by its reader.
    """
    values = 0
    level: list[object] = [argument]
    while level:
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                values += len(item) // _BYTES_PER_VALUE
            elif isinstance(item, int | float) and not abs(item) < _LARGEST:  # also NaN
                raise SchemaError(path, "a number is not less than 1e100")
        values += len(below)
        level = below
    return values
