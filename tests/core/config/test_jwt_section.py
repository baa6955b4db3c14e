"""The section [realm.jwt]."""

from pathlib import Path

import pytest

from fox_shard.config import ConfigError, load, parse

HEAD = '[[realm]]\nname = "realm1"\n[realm.jwt]\n'


def read(text):
    return parse(HEAD + text, {}, folder=Path("/x"), name="f")[0].realms[0].jwt


def test_a_key_is_a_file_beside_the_configuration(tmp_path):
    path = tmp_path / "fox.toml"
    path.write_text(HEAD + 'key = "key.pem"\nalgorithms = ["ES256"]')
    assert load(path, {}).realms[0].jwt.key == str(tmp_path / "key.pem")
    path.write_text(HEAD + 'jwks = "https://x/y"\nalgorithms = ["ES256"]')
    assert load(path, {}).realms[0].jwt.jwks == "https://x/y"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('key = "a"', 'algorithms is missing, such as ["RS256"]'),
        ('key = "a"\nalgorithms = ["none"]', 'such as ["RS256", "ES256", "EdDSA"] (never "none")'),
        ('key = "a"\nalgorithms = []', "must be a list of JWT algorithms"),
        ('key = "a"\nalgorithms = ["RS256", "HS256"]', "one key is never of both kinds"),
        ('algorithms = ["RS256"]', "jwt needs either key or jwks"),
        ('key = "a"\njwks = "b"\nalgorithms = ["RS256"]', "jwt needs either key or jwks"),
        ('jwks = "http://x/y"\nalgorithms = ["RS256"]', "must be a file or an https URL"),
        ('jwks = "https:///y"\nalgorithms = ["RS256"]', "must be a file or an https URL"),
        ('jwks = "b"\nalgorithms = ["HS256"]', "needs a secret in a file (key), not jwks"),
        ('key = "a"\nalgorithms = ["RS256"]\nleeway = 601', "a whole number from 0 to 600"),
        ('key = "a"\nalgorithms = ["RS256"]\nurl = ""', "there is no setting url"),
    ],
)
def test_a_mistake_is_reported(text, sentence):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("f: realm[0].jwt")
