"""`python -m bench`: measure our broker; `--peers`: side by side with mosquitto and fox-wamp."""

import argparse
import datetime
import fnmatch
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import connecting, flood, idle, keys, report, table, tables
from bench.loop import Closed
from bench.measure import Cost
from bench.payload import Miscount
from bench.scenarios import SCENARIOS, Scenario, Terms
from bench.servers import (
    FoxServe,
    FoxShard,
    FoxWamp,
    Missing,
    Mosquitto,
    Server,
    ThinnestRelay,
)

_NAP_HELP = "the generator naps for this share of a window's time, e.g. 0.4 (0: never)"


def main() -> int:
    """Run the benchmark, and return the exit code.

    The code is 1 if a message was lost or came twice, a server is missing, or a target was missed.
    """
    options = _options()
    idle.raise_descriptor_limit()
    makers: list[Callable[[], Server]] = []
    if options.peers:
        makers = [FoxServe, Mosquitto, FoxWamp, ThinnestRelay]
    if options.server:
        others: list[type[FoxServe] | type[Mosquitto] | type[FoxWamp] | type[ThinnestRelay]]
        others = [FoxServe, Mosquitto, FoxWamp, ThinnestRelay]
        makers = [maker for maker in others if maker.name in options.server]
    if not options.server or FoxShard.name in options.server:
        makers.insert(0, lambda: FoxShard(options.gateways, options.shards, traced=options.syncs))
    with ExitStack() as stack:
        servers = []
        try:
            for maker in makers:
                servers.append(maker())
                stack.callback(servers[-1].stop)
        except Missing as missing:
            print(missing, file=sys.stderr)
            return 1
        if options.tables is not None:
            _tables(servers, options)
            return 0
        alone = options.keys is not None or options.flood
        if options.memory or options.idle or options.storm or alone:
            _without_load(servers, options)
            return 0
        return _load(servers, options)


def _load(servers: list[Server], options: argparse.Namespace) -> int:
    terms = Terms(options.seconds, min(1.0, options.seconds / 2), options.place, options.nap)
    rounds = options.rounds or (3 if options.peers else 1)
    failed = 0
    results: list[dict[str, Any]] = []
    compared: list[table.Comparison] = []
    print(report.head())
    for scenario in _chosen(options):
        capable = [server for server in servers if scenario.runs_on(server)]
        if options.peers and len(capable) < 2:
            continue
        costs, errors = _alternating(scenario, capable, terms, rounds)
        failed += errors
        results += _shown(scenario, capable, costs, split=options.split)
        rows = _comparisons(scenario, capable, costs)
        failed += any(row.target is not None and row.ratio > row.target for row in rows)
        for row in rows:
            verdict = report.verdict(row.ours, row.theirs, row.target)
            print(f"{'':<26}{row.server} beside {row.peer}: {verdict}")
        compared += rows
        sys.stdout.flush()
    if options.table:
        _keep(options, terms, rounds, servers, compared)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 1 if failed else 0


def _shown(
    scenario: Scenario, servers: list[Server], costs: dict[str, list[Cost]], *, split: bool
) -> Iterator[dict[str, Any]]:
    """Print a row for each server that could be measured, and yield the rows for --json."""
    for server in servers:
        if costs[server.name]:
            middle = report.middle(costs[server.name])
            print(report.row(scenario.name, server.name, middle))
            if split:
                print(f"{'':<26}{report.split(server.kinds, middle)}")
            yield report.as_json(scenario.name, server.name, costs[server.name])


def _alternating(
    scenario: Scenario, servers: list[Server], terms: Terms, rounds: int
) -> tuple[dict[str, list[Cost]], int]:
    """Run a scenario on the servers in turn (A B A B …); return costs by server, and errors.

    The alternation spreads the other load of the machine evenly over the servers.
    """
    costs: dict[str, list[Cost]] = {server.name: [] for server in servers}
    errors = 0
    for _ in range(rounds):
        for server in servers:
            try:
                costs[server.name].append(scenario.run(scenario, server, terms))
            except (Miscount, Closed, OSError) as error:
                print(f"{scenario.name} on {server.name}: {type(error).__name__}: {error}")
                print(server.logs(), file=sys.stderr)
                errors += 1
    return costs, errors


def _comparisons(
    scenario: Scenario, servers: list[Server], costs: dict[str, list[Cost]]
) -> list[table.Comparison]:
    """Return what our servers cost beside each peer, of those that could be measured."""
    measured = [server.name for server in servers if costs[server.name]]
    middles = {name: report.middle(costs[name]) for name in measured}
    ours = [name for name in middles if name in (FoxShard.name, FoxServe.name)]
    return [
        table.Comparison(
            scenario.name, name, peer, middles[name], middles[peer], scenario.target(name, peer)
        )
        for name in ours
        for peer in middles
        if peer not in ours and (name, peer) != (FoxServe.name, ThinnestRelay.name)
    ]


def _keep(
    options: argparse.Namespace,
    terms: Terms,
    rounds: int,
    servers: list[Server],
    rows: list[table.Comparison],
) -> None:
    """Say what became worse since the table was written, and write it anew."""
    for sentence in table.regressions(options.table, rows):
        print(f"REGRESSION: {sentence}")
    versions = "; ".join(f"{server.name} {server.version}" for server in servers)
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **table.machine(),
        "servers": f"{versions}; {options.gateways} gateways and {options.shards} shards",
        "runs": f"{rounds} of {terms.seconds:g} s each, in turn; medians",
    }
    table.write(options.table, rows, about)


def _chosen(options: argparse.Namespace) -> Iterator[Scenario]:
    for scenario in SCENARIOS:
        if options.only:
            if any(fnmatch.fnmatch(scenario.name, pattern) for pattern in options.only):
                yield scenario
        elif not options.peers or scenario.in_table:
            yield scenario


def _without_load(servers: list[Server], options: argparse.Namespace) -> None:
    if options.flood:
        _flood(servers, options)
    elif options.keys is None:
        _at_rest(servers, options)
    for server in servers:
        if options.keys is not None and isinstance(server, FoxShard):
            lines = (
                keys.report_syncs(server, options.seconds)
                if options.syncs
                else keys.report(server, options.seconds, options.keys)
            )
            for line in lines:
                print(line, flush=True)


def _tables(servers: list[Server], options: argparse.Namespace) -> None:
    for server in servers:
        if isinstance(server, FoxShard):
            for line in tables.report(server, options.shards, options.seconds, options.tables):
                print(line, flush=True)


def _flood(servers: list[Server], options: argparse.Namespace) -> None:
    for server in servers:
        if isinstance(server, FoxShard):
            for line in flood.report(server, options.flood, options.shards, options.seconds):
                print(line, flush=True)


def _at_rest(servers: list[Server], options: argparse.Namespace) -> None:
    for server in servers:
        if options.memory:
            for row in idle.memory(server, options.connections):
                print(report.memory_row(row), flush=True)
        if options.storm:
            seconds, cpu = connecting.storm(server, options.storm)
            line = f"{options.storm:,} clients are in after {seconds:.1f} s, {cpu:.0f} µs CPU each"
            print(f"{server.name:<11}{line}", flush=True)
        if options.idle:
            percent = idle.idle(server, options.seconds)
            print(f"{server.name:<11}idle: {percent:.2f} % of a core", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="alternate with the peers")
    parser.add_argument("--server", action="append", help="only this one (may be repeated)")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="e.g. 'mqtt-qos0-*'")
    parser.add_argument("--seconds", type=float, default=None, help="of each run (4; --idle 10)")
    parser.add_argument("--rounds", type=int, help="of each scenario (1; --peers 3)")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--place", choices=("apart", "same", "any"), default="apart")
    parser.add_argument("--split", action="store_true", help="CPU by kind of process, too")
    parser.add_argument("--nap", type=float, default=0.0, help=_NAP_HELP)
    parser.add_argument("--memory", action="store_true", help="KiB per idle connection")
    parser.add_argument("--connections", type=int, default=2000, help="of --memory")
    parser.add_argument("--storm", type=int, metavar="N", help="N MQTT clients that come at once")
    parser.add_argument(
        "--flood",
        action="append",
        choices=list(flood.KINDS),
        help="what others wait for meanwhile (may be repeated)",
    )
    parser.add_argument("--idle", action="store_true", help="CPU while nothing happens")
    parser.add_argument("--keys", type=int, metavar="N", help="retained keys, and a start with N")
    parser.add_argument(
        "--tables", type=int, metavar="N", help="rows with aggregates, and a start with N"
    )
    parser.add_argument(
        "--syncs",
        action="store_true",
        help="with --keys: how often the disk is waited for (strace)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all rounds")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="with --peers: write docs/bench.md's table"
    )
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = 10.0 if options.idle else 4.0
    return options


if __name__ == "__main__":
    sys.exit(main())
