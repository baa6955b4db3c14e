"""`fox schema`: the schema of a realm's tables on a running server.

Owns: reading a file with a schema, what is printed. Never: what a schema means (see
`fox_shard.tables`).
"""

import sys
from pathlib import Path
from typing import Final

import msgspec

from fox_shard.client import Session
from fox_shard.errors import InvalidPayload
from fox_shard.progress import bar
from fox_shard.remote.connecting import DONE
from fox_shard.remote.rebuilding import await_rebuilt
from fox_shard.remote.values import as_json
from fox_shard.tables.mistakes import SchemaError
from fox_shard.tables.schema import TableSet

MISTAKE: Final = 2
"""Exit code: the file cannot be read, or its schema cannot be."""


class SchemaFileError(Exception):
    """A schema that cannot be read, or cannot be; the message is a sentence with its file."""


def read(file: str) -> str:
    """Return the text of a schema. file: a path; "-": standard input. Raises SchemaFileError."""
    name = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = content.decode()
        TableSet.parse(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SchemaFileError(f"Cannot read {name}: {reason}.") from error
    except SchemaError as error:
        raise SchemaFileError(error.in_file(name)) from error
    return text


def set_schema(router: Session, text: str, *, wait: bool, quiet: bool, json: bool) -> int:
    """Set the schema, and print its version. json: in an object. Returns the exit code.

    wait: until the aggregates are computed by it, before the version is printed. quiet: without a
    bar.
    """
    version = router.call("fox.schema.set", text)[0]
    if wait:
        with bar(quiet=quiet) as progress:
            await_rebuilt(router, progress)
    print(as_json({"version": version}) if json else version)
    return DONE


def show(router: Session, *, json: bool) -> int:
    """Print the schema as JSON. json: on one line. Returns the exit code."""
    (schema,) = router.call("fox.schema.get")
    text = msgspec.json.encode(schema)
    print((text if json else msgspec.json.format(text)).decode())
    return DONE


def row_topic(router: Session, topic: str, row: object) -> str | None:
    """Return the topic of the row that was published to `topic`; None: that is no table."""
    schema = TableSet.parse(router.call("fox.schema.get")[0] or {})
    table = schema.tables.get(topic)
    if table is None or not isinstance(row, dict):
        return None
    try:
        return table.row_topic(row)
    except InvalidPayload:
        return None  # another schema than the one by which the router took the row
