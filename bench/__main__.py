"""`python -m bench drain|latency|isolation`: prints one JSON object."""

from __future__ import annotations

import argparse
import json

from bench.scene import set_up_django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    drain = benchmarks.add_parser("drain", help="how fast a backlog is delivered")
    drain.add_argument("--events", type=int, default=50_000)
    drain.add_argument("--endpoints", type=int, default=1000)
    drain.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    set_up_django()
    if options.benchmark == "drain":
        from bench.drain import drain as run_drain

        result = run_drain(options.events, options.endpoints, options.workers)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
