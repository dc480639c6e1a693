"""Hop 1 beside its peers, on this machine, in one run: `make bench`, or `make bench ONLY=cold` for one part.

Each part takes two minutes or less, and the first run some more, to make the peers' environments in `.bench`.
Keep the machine quiet meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.environments import build_of
from bench.live import BenchError
from infra.bench import parts, report
from infra.bench.findings import Finding, keep
from infra.bench.gates import CHECKOUT, PYTHON, say
from infra.bench.load import LoadError
from infra.bench.run import Run
from infra.bench.standing import Cores

_FILES_MAX = 8_192
"""A thousand held calls are two thousand connections."""


def main() -> int:
    """Measure, print and write; return 1 if a part could not be measured."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES_MAX, hard), hard))
    run = Run(
        folder=arguments.folder,
        cores=Cores.of_this_machine(),
        rounds=1 if arguments.quick else arguments.rounds,
        scale=0.4 if arguments.quick else 1,
        day=datetime.now(UTC).date().isoformat(),
    )
    failed = 0
    for part in arguments.only or report.PARTS:
        say(f"── {part}")
        load = os.getloadavg()[0]
        try:
            finding = _measured(part, run)
        except (BenchError, LoadError) as exc:
            failed += 1
            say(f"{part} could not be measured: {exc}")
            continue
        keep(msgspec.structs.replace(finding, load=round(load, 1), python=build_of(PYTHON)), run.findings)
        for goal in finding.goals:
            say(f"{'met    ' if goal.met else 'NOT MET'} {goal.what}: {goal.measured}; goal {goal.goal}")
    if not arguments.quick:
        for path in report.write(run.findings, CHECKOUT / "docs"):
            say(f"written: {os.path.relpath(path)}")
    return int(failed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="infra.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=report.PARTS, help="a part; may be given several times")
    parser.add_argument("--rounds", type=int, default=5, help="paired rounds of each comparison")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all of it works")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".bench", help="of environments, logs, findings")
    return parser.parse_args()


def _measured(part: str, run: Run) -> Finding:
    parts.install()
    finding: Finding = importlib.import_module(f"infra.bench.{part}").measure(run)
    return finding


if __name__ == "__main__":
    sys.exit(main())
