"""Why a server, or one of its processes, does not start: each in one sentence.

Owns: the list. Never: what becomes of a process that does not start.
"""

from typing import Final

from fox_shard.gateway.sockets.certificates import CertificateError
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.runtime.name_lock import AlreadyRunning
from fox_shard.runtime.schemas import SchemaFileError
from fox_shard.runtime.server_file import AttachError
from fox_shard.runtime.token_keys import TokenKeysFileError
from fox_shard.store.store import StoreError
from fox_shard.users.file import UsersFileError
from fox_shard.worker.functions import MissingFunction

REFUSALS: Final = (
    AlreadyRunning,
    AttachError,
    CertificateError,
    ListenError,
    MissingFunction,
    SchemaFileError,
    StoreError,
    TokenKeysFileError,
    UsersFileError,
)
"""The exceptions, each with a message that is one sentence for people."""
