"""The file with the token for `/metrics`."""

import pytest

from fox_shard.runtime.metrics_token import TokenFileError, read_token


def written(folder, text, mode=0o600):
    path = folder / "token"
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


def test_without_a_file_there_is_no_token():
    assert read_token("") == ""


def test_the_token_is_the_text_without_white_space_around(tmp_path):
    assert read_token(written(tmp_path, b" 0123456789abcdef\n")) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (b"short", 0o600, "fewer than 16 characters"),
        (b"", 0o600, "fewer than 16 characters"),
        ("0123456789abcdefü".encode(), 0o600, "it is not ASCII"),
        (b"0123456789abcdef", 0o644, "has the mode 0644"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, text, mode, sentence):
    with pytest.raises(TokenFileError, match=sentence):
        read_token(written(tmp_path, text, mode))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TokenFileError, match=r"nothing: No such file"):
        read_token(str(tmp_path / "nothing"))
