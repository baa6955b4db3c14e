"""The secrets that sign a webhook's requests.

Owns: reading their file, and that nobody else can. Never: what a secret is (see `config.webhook`).
"""

import os

from fox_shard.config import Webhook
from fox_shard.config.webhook import key_of
from fox_shard.errors import StartError
from fox_shard.users.secret_file import exposing_mode


def read_keys(settings: Webhook) -> list[bytes]:
    """Return the keys of a webhook, each of which signs. Raises StartError."""
    if settings.secret:
        return [key_of(settings.secret)]
    path = settings.secret_file
    if not path:
        return []
    try:
        with open(path, encoding="ascii") as file:
            exposed = exposing_mode(os.fstat(file.fileno()), os.getuid())
            if exposed:
                raise ValueError(f"its mode is {exposed}, so others can read it: chmod 600 {path}.")
            keys = [key_of(line) for line in file.read().split()]
        if not keys:
            raise ValueError("there is no secret in it.")
    except (OSError, ValueError) as error:
        why = f"{error.strerror}." if isinstance(error, OSError) else error
        raise StartError(
            f'The webhook "{settings.name}" has no secret from {path}: {why}'
        ) from error
    return keys
