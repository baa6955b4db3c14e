"""Every scenario belongs to a family that has a file of tests."""

from pathlib import Path

import pytest

from fox_shard.testing.scenarios import SCENARIOS

MODULES = sorted({scenario.__module__.rpartition(".")[2] for scenario in SCENARIOS.values()})


@pytest.mark.parametrize("module", MODULES)
def test_each_family_of_scenarios_has_its_file(module):
    text = Path(__file__).with_name(f"test_{module}.py").read_text()
    assert f"family = {module}\n" in text
