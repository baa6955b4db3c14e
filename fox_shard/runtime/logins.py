"""What logins need of the world: the users' file, keys for tokens, threads that check passwords.

Owns: these three, from the gateway's start to its end. Never: who is let in (see `gateway.auth`).
"""

import asyncio
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import final

from fox_shard.client.login import public_key
from fox_shard.config import Config, asks_for_proof
from fox_shard.gateway.auth.authentication import NO_USERS
from fox_shard.gateway.core import Gateway
from fox_shard.runtime.password_checks import PasswordChecks
from fox_shard.runtime.token_keys import TokenKeysWatch
from fox_shard.runtime.users import UsersWatch
from fox_shard.runtime.worker_key import ROLE, WORKER, worker_key
from fox_shard.users.user import User, Users


@final
class Logins:
    """The file and the threads of one gateway.

    users: those that there are at the start; None: all clients are anonymous.
    """

    def __init__(self, config: Config, process: str) -> None:
        """Read the files. Raises UsersFileError, TokenKeysFileError."""
        self._token_keys = TokenKeysWatch(config, process)
        self._watch = UsersWatch(Path(config.users), process)
        self._checks: PasswordChecks | None = None
        seed = worker_key(Path(config.run_dir))
        key = public_key(seed)
        self._workers = [
            User(name=WORKER, realm=realm.name, role=ROLE, pubkeys=(key,))
            for realm in config.realms
        ]
        self._secret = hmac.digest(seed, b"salts", "sha256")
        read = self._watch.users
        if read is None and asks_for_proof(config.realms):
            read = NO_USERS
        self.users = None if read is None else self._with_workers(read)

    def _with_workers(self, users: Users) -> Users:
        """Return the users, and the worker, which is one of each realm."""
        return Users((*users.all, *self._workers))

    def start(self, gateway: Gateway, schedule_flush: Callable[[], None]) -> None:
        """Begin to look for changes. schedule_flush: called after the gateway was."""
        loop = asyncio.get_running_loop()
        gateway.authentication.secret = self._secret

        def set_users(users: Users) -> None:
            gateway.now = loop.time()
            gateway.set_users(self._with_workers(users))
            schedule_flush()

        self._watch.start(set_users)
        self._token_keys.start(gateway)
        self._checks = PasswordChecks(gateway, schedule_flush)

    def check_passwords(self) -> None:
        """Begin to check the passwords that are due."""
        if self._checks is not None:
            self._checks.begin()

    def stop(self) -> None:
        """Look no more, and wait for the checks that have begun."""
        self._watch.stop()
        self._token_keys.stop()
        if self._checks is not None:
            self._checks.stop()
