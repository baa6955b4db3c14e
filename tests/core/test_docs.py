"""The pages of docs/ list what the code has. (The root `conftest.py` runs their Python blocks.)"""

import re
from pathlib import Path

import msgspec
import pytest

from fox_shard.backplane.usage import Usage
from fox_shard.config import SETTINGS, Address, Setting
from fox_shard.coordinator.sys import COUNTERS, GAUGES, Sys
from fox_shard.errors import Refusal
from fox_shard.remote.procedures import FAILED as COMMAND_FAILED
from fox_shard.testing.clients import MqttClient
from fox_shard.testing.world import World
from fox_shard.topics.topic import to_mqtt
from fox_shard.web.metric_catalog import as_markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def rows(page, first):
    """Return the rows, as lists of cells, of the page's table whose first column is `first`."""
    lines = iter((DOCS / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            break
    else:
        raise AssertionError(f"{page} has no table that begins with {first}")
    assert next(lines).startswith("|--")
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def default_of(setting: Setting) -> str:
    match setting.default:
        case None:
            return '"off"'
        case ():
            return "[]"
        case str() | Address() as text:
            return f'"{text}"'
        case bool() as yes:
            return str(yes).lower()
        case number:
            return str(number)


def range_of(setting: Setting) -> set[str]:
    match msgspec.inspect.type_info(setting.kind):
        case msgspec.inspect.IntType(ge=low, le=high) | msgspec.inspect.FloatType(ge=low, le=high):
            return {f"{low:.15g} to {high:.15g}"}
        case msgspec.inspect.LiteralType(values=values):
            return set(values)
        case _:
            return set()


def test_configuration_lists_every_setting():
    listed = rows("configuration.md", "setting")
    assert [row[0] for row in listed] == [f"`{path}`" for path in SETTINGS]


@pytest.mark.parametrize("row", rows("configuration.md", "setting"), ids=lambda row: row[0])
def test_configuration_states_the_default_and_range_of_a_setting(row):
    (path,) = names(row[0])
    setting = SETTINGS[path]
    assert row[1] == f"`{default_of(setting)}`"
    assert {part for part in row[2].split(", ") if part} == range_of(setting)


@pytest.mark.parametrize(
    ("page", "first"), [("operations.md", "setting"), ("semantics.md", "limit")]
)
def test_other_pages_name_only_settings_that_exist(page, first):
    named = [name for row in rows(page, first) for name in names(row[0]) + names(row[1])]
    settings = [name for name in named if re.fullmatch(r"(gateway|rpc)\.\w+", name)]
    assert settings
    assert set(settings) <= set(SETTINGS)


def reported():
    """Return the name of every metric that StatsD gets of a small cluster, as metrics.md has it."""
    world = World(1, gateways=1, shards=1, realms=("realm1",))
    world.run_until(lambda: world.linked)
    client = MqttClient(world, 0)
    world.run_until(lambda: client.connected)
    # A limit is reported when it has refused something.
    world.nodes["gateway-0"].limit_counts.add("max_filters")
    world.nodes["shard-0"].dealer.invocations.limit_counts.add("queue_limit")
    world.nodes["coordinator"].core.schema_calls.limit_counts.add("schema_calls")
    for name, node in world.nodes.items():
        node.send_report(world.now, Usage(5, 1))
        world.turn(name)
    world.run(1)
    coordinator = world.nodes["coordinator"]
    found = set()
    for owner, name, _, _ in coordinator.metrics(world.now):
        if name in ("cpu_milliseconds", "memory_bytes") or name.startswith("refused."):
            owner = "<process>"
        owner = re.sub(r"^(gateway|shard)-0$", r"\1-<n>", owner).replace("realm1", "<realm>")
        found.add(f"{owner}.{re.sub(r'^refused[.].*', 'refused.<limit>', name)}")
    # A protocol that no session has used yet has no such gauge.
    return found | {"<realm>.wamp.sessions"}


def test_metrics_lists_all_that_statsd_gets():
    listed = [name for row in rows("metrics.md", "name") for name in names(row[3])]
    assert sorted(listed) == sorted(reported())


def test_metrics_has_the_table_of_the_code():
    assert as_markdown() in (DOCS / "metrics.md").read_text()


def test_semantics_lists_every_sys_topic():
    listed = [name for row in rows("semantics.md", "`$SYS/broker/…`") for name in names(row[0])]
    sys = Sys(["realm1"], 10, 0.0)
    topics = [to_mqtt(topic).removeprefix("$SYS/broker/") for _, topic in sys.topics()]
    assert sorted(listed) == sorted(topics)
    assert len(topics) == len(COUNTERS) + len(GAUGES) + 4


def test_error_uris_in_the_pages_exist():
    known = {refusal.uri for refusal in Refusal.__subclasses__()} | {COMMAND_FAILED}
    text = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"fox\.error\.\w+", text)) <= known


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_the_links_and_files_of_a_page_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    named = re.findall(r"`((?:backplane|gateway|shard|coordinator|topics)/[\w/]+\.py)`", text)
    for path in named:
        assert (ROOT / "fox_shard" / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_is_a_heading_by_mistake(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^#+[^# \n].*", text, re.MULTILINE)


def test_the_index_lists_all_pages():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text())
    assert sorted({*listed, "index.md"}) == [page.name for page in PAGES]


# The module of each class that the tour names as `Class.method`.
STEPS = {
    "Channel": "gateway/sockets/channel.py",
    "Reader": "gateway/mqtt/reader.py",
    "MqttSession": "gateway/mqtt/session.py",
    "Gateway": "gateway/core.py",
    "Publishing": "gateway/pubsub/publishing.py",
    "Shell": "runtime/shell.py",
    "Link": "backplane/link.py",
    "Links": "backplane/links.py",
    "Wire": "backplane/wire.py",
    "Shard": "shard/core.py",
    "Recovery": "shard/recovery.py",
    "Broker": "shard/pubsub/broker.py",
    "StoredPublishes": "shard/publishing/stored.py",
    "Commits": "shard/publishing/commits.py",
    "Dispatcher": "shard/dispatch.py",
    "Keyspace": "shard/keys/keyspace.py",
    "Deliveries": "shard/links/deliveries.py",
    "Fanout": "gateway/pubsub/fanout.py",
    "Listeners": "gateway/sockets/listeners.py",
    "Calls": "gateway/rpc/calls.py",
    "Dealer": "shard/rpc/dealer.py",
    "Invocations": "shard/rpc/invocations.py",
}


def test_the_tour_names_methods_that_exist():
    text = (DOCS / "architecture.md").read_text()
    steps = re.findall(r"`([A-Z]\w+)\.(\w+)`", text)
    steps = [(owner, name) for owner, name in steps if owner in STEPS]
    assert len(steps) > 15
    for owner, name in steps:
        source = (ROOT / "fox_shard" / STEPS[owner]).read_text()
        body = source.partition(f"class {owner}")[2]
        assert f"def {name}(" in body, f"{owner}.{name}"
