"""The share of a core that a process has used lately."""

import pytest

from fox_shard.runtime.core_share import CoreShare


def test_the_share_is_that_of_the_last_periods():
    share = CoreShare(100.0, 3.0)
    share.sample(105.0, 8.0)
    share.sample(110.0, 8.5)
    assert share.value(115.0, 9.5) == pytest.approx(0.15)
    share.sample(115.0, 9.5)
    assert share.value(116.0, 9.5) == pytest.approx(0.17)


def test_before_any_time_has_passed_the_share_is_nothing():
    assert CoreShare(100.0, 3.0).value(100.0, 3.0) == 0.0
