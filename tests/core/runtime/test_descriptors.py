"""A shortage of file descriptors: told once when it begins."""

import errno
import os

import pytest

from fox_shard.runtime import descriptors
from fox_shard.runtime.descriptors import CALM, Shortage, is_short


def test_a_shortage_is_told_once_and_again_after_a_calm():
    short = True
    shortage = Shortage(lambda: short)
    assert [shortage.is_news(now) for now in (0, 1, 2)] == [True, False, False]
    short = False
    assert not shortage.is_news(3)
    short = True
    # A client has left and another one came: it is still the same shortage.
    assert not shortage.is_news(4)
    assert not shortage.is_news(4 + CALM - 1)
    assert shortage.is_news(4 + 2 * CALM)


def test_there_are_descriptors_here():
    assert not is_short()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_what_the_system_says_is_understood(monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(descriptors.os, "open", refuse)
    assert is_short()
    code = errno.EACCES
    with pytest.raises(PermissionError):
        is_short()
