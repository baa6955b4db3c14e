"""Users for tests, and the checks of their passwords, which a test runs when it likes."""

from functools import cache

from fox_shard.users.passwords import user_with_password
from fox_shard.users.user import User, Users

PASSWORD = "s3cret, café"
PRIVATE_KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
SALTS = (b"0123456789abcdef", b"fedcba9876543210", "salt123")


@cache
def peter(*, kdf="argon2id13", wampcra=True):
    """Return a user of realm1 with all verifiers of PASSWORD."""
    return user_with_password("peter", "realm1", "dev", PASSWORD, SALTS, kdf=kdf, wampcra=wampcra)


@cache
def mary():
    """Return a user of the other realm whose name is a mail address."""
    return user_with_password("mary@example.com", "other", "ops", PASSWORD, SALTS)


def bot(pubkey):
    """Return a user of realm1 that has only a public key, in hexadecimal."""
    return User(name="bot", realm="realm1", role="machine", pubkeys=(pubkey,))


def users(*more):
    return Users([peter(), mary(), *more])


def check_passwords(gateway):
    """Run the checks that are due, and return how many there were."""
    hashing = gateway.authentication.hashing
    count = 0
    while jobs := hashing.due():
        for job in jobs:
            count += 1
            hashing.finished(job, right=job.run())
    return count
