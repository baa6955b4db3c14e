"""The secrets of webhooks, in the configuration or in a file."""

from base64 import b64encode

import pytest

from fox_shard.config import Webhook
from fox_shard.errors import StartError
from fox_shard.worker.webhooks.secrets import read_keys

KEYS = [bytes(range(first, first + 32)) for first in (0, 1)]
SECRETS = ["whsec_" + b64encode(key).decode() for key in KEYS]


def keys_of(path="", **more):
    return read_keys(
        Webhook(name="w", topic="a", url="https://a.example/", secret_file=str(path), **more)
    )


@pytest.fixture
def file(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "secrets"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def test_a_webhook_without_a_secret_has_no_key():
    assert keys_of() == []


def test_a_secret_of_the_configuration_is_the_key():
    assert keys_of(secret=SECRETS[0]) == KEYS[:1]


def test_each_line_of_a_file_is_a_secret(file):
    assert keys_of(file("\n".join(SECRETS) + "\n")) == KEYS


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("", 0o600, "there is no secret in it."),
        ("whsec_AAAA", 0o600, "a secret is whsec_ and 24 to 64 random bytes in base64"),
        (b"\xff\xfe", 0o600, "'ascii' codec can't decode"),
        (SECRETS[0], 0o644, "its mode is 0644, so others can read it: chmod 600 "),
        (SECRETS[0], 0o620, "its mode is 0620, so others can read it: chmod 600 "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_its_secret(file, text, mode, sentence):
    with pytest.raises(StartError) as told:
        keys_of(file(text, mode))
    assert str(told.value).startswith('The webhook "w" has no secret from /')
    assert sentence in str(told.value)
    assert SECRETS[0] not in str(told.value)
