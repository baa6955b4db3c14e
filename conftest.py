"""Runs the Python blocks of README.md and docs/: documentation that is wrong fails.

Has what holds for all tests: how much hypothesis tries, the seeds of the simulation, the order; and
what is tested: the sources, or the compiled build that TESTED_BUILD names.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

TESTED_BUILD = os.environ.get("TESTED_BUILD", "")
if TESTED_BUILD:
    # Before anything imports the package: here, and in the processes that tests start.
    folder = Path(TESTED_BUILD).absolute()
    sys.path.insert(0, str(folder))
    from fox_shard.compiled import Build, Manifest, digest, use

    manifest = Manifest.read(folder / "fox_shard")
    if manifest is None or manifest.sources != digest(Path(__file__).parent / "fox_shard"):
        pytest.exit(f"TESTED_BUILD: {folder} is no build of these sources: say `make compile`.", 4)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for `python -m bench` and the examples
    use(Build(str(manifest), folder), os.environ)

# As much for each test. How long an example takes is no property of the code: a busy machine must
# not fail a test.
settings.register_profile(
    "dev",
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md", "docs/*.md"],
).pytest()


def pytest_configure() -> None:
    """Choose the seeds of the day, once for all workers, which inherit the environment.

    Not FOX_…: the server would take these for its settings.
    """
    os.environ.setdefault("SIMULATION_FIRST", str(1000 * datetime.now(UTC).isoweekday()))
    os.environ.setdefault("SIMULATION_SECONDS", "60")


def pytest_report_header() -> str:
    first, seconds = (os.environ[f"SIMULATION_{name}"] for name in ("FIRST", "SECONDS"))
    return f"simulation: SIMULATION_FIRST={first} today, SIMULATION_SECONDS={seconds}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no worker is left alone with one at the end."""
    first = ("wire", "simulation")
    items.sort(key=lambda item: [item.path.parent.name == name for name in first], reverse=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much the simulation did."""
    ran = [
        count
        for report in terminalreporter.getreports("passed")
        for name, count in report.user_properties
        if name == "seeds" and report.when == "call"
    ]
    if ran:
        terminalreporter.write_line(f"simulation: {len(ran)} scenarios, {sum(ran)} seeds in all")
