"""The files with schemas that the configuration names.

Owns: reading and checking them at the start. Never: what becomes of a schema (see
`coordinator.schemas`).
"""

from pathlib import Path

from fox_shard.config import Config
from fox_shard.errors import StartError
from fox_shard.tables.mistakes import SchemaError
from fox_shard.tables.schema import TableSet


class SchemaFileError(StartError):
    """A schema that cannot be read, or cannot be; the message is a sentence with its file."""


def read_schemas(config: Config) -> dict[str, str]:
    """Return the texts of the configured schemas by realm. Raises SchemaFileError."""
    texts: dict[str, str] = {}
    for realm in config.realms:
        if realm.schema:
            try:
                text = Path(realm.schema).read_text(encoding="utf-8")
                TableSet.parse(text)
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or error
                raise SchemaFileError(
                    f"Cannot read {realm.schema}, the schema of {realm.name}: {reason}."
                ) from error
            except SchemaError as error:
                raise SchemaFileError(error.in_file(realm.schema)) from error
            texts[realm.name] = text
    return texts
