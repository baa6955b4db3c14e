"""Run the tests of each family with all its scenarios."""

from fox_shard.testing.scenarios import SCENARIOS


def pytest_generate_tests(metafunc):
    if "scenario" in metafunc.fixturenames and metafunc.cls:
        family = metafunc.cls.family.__name__
        names = [name for name in SCENARIOS if SCENARIOS[name].__module__ == family]
        metafunc.parametrize("scenario", names)
