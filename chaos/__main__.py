"""`python -m chaos`: kill and stop processes of the broker under load, and check its promises."""

import argparse
import asyncio
import secrets

from chaos.run import GREEDY, run

SHOWN = 30
"""Maximum number of complaints that are printed."""


def main() -> int:
    """Run the test, and return the exit code: 1 if there are complaints."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of load (120)")
    parser.add_argument(
        "--seed", type=int, help="decides who is killed when, and what is published"
    )
    parser.add_argument("--gateways", type=int, default=2, help="2 or more (2)")
    parser.add_argument("--shards", type=int, default=2, help="(2)")
    parser.add_argument(
        "--greedy", type=int, default=GREEDY, help=f"greedy clients at a time ({GREEDY})"
    )
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} seconds", flush=True)
    summary = asyncio.run(
        run(options.seconds, seed, options.gateways, options.shards, options.greedy)
    )
    print(summary)
    if not summary.complaints:
        print("all promises were kept")
        return 0
    print("\nwho was killed:", *summary.log[-60:], sep="\n")
    print(f"\n{len(summary.complaints)} complaints:")
    for complaint in summary.complaints[:SHOWN]:
        print(complaint)
    print(summary.complaints[-1])
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
