"""The worker beside its peers, on this machine and the real MiniLM, in one run; it writes `docs/benchmarks.md`.

From the repository's root: `PYTHONPATH=functions:gpu_worker .venv/bin/python -m bench [--quick] [--only PART]`. A
full run takes about ten minutes, the first one some more to make the peers' environments. Each part writes its own
section. Keep the machine quiet meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from bench import cold, fixed, report, served
from bench.clients import run_round
from bench.corpus import Mix, make_texts
from bench.environments import programs, versions
from bench.live import BenchError, Live, Place, base_environment, live
from bench.machine import kept_on, this_machine
from bench.processes import can_keep, running
from bench.served import Case, Load, Results
from bench.servers import CHECKOUT, OURS, PLAIN, Device, Server, make_servers, model_folder
from twohop.loopback import free_port

_CLIENTS = 32
_VECTOR = '{"outputs":[' + ",".join(["0.0123456789012345"] * 384) + "]}"
"""An answer as long as those that are measured."""
_CASES = (Case(Mix.QUERIES, _CLIENTS), Case(Mix.MIXTURE, _CLIENTS), Case(Mix.QUERIES, 1), Case(Mix.MIXTURE, 1))
_TELLING = {
    None: ("torch", "transformers", "tokenizers", "starlette", "uvicorn"),
    "transformers": ("torch", "transformers", "fastapi", "uvicorn"),
    "sentence-transformers": ("torch", "sentence-transformers", "transformers", "fastapi", "uvicorn"),
    "infinity": ("torch", "infinity-emb", "sentence-transformers", "transformers", "fastapi", "uvicorn"),
}
"""Packages whose versions are reported, by requirements."""
_TABLE_SECONDS_MAX = 240
_QUEUE = "The worker's queue loop and the SDK's"
_DEVICE_SAID = {Device.CPU: "", Device.CUDA: " --device cuda"}


class Part(StrEnum):
    """What can be measured by itself."""

    SERVED = "served"
    STARTS = "starts"
    ENCODER = "encoder"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    load: Load
    texts: int
    """Of each mix."""
    warm_up_seconds: float
    starts: int
    starts_dropped: int


_FULL = Plan(
    load=Load(rounds=5, seconds=3, seconds_max=200),
    texts=1_024,
    warm_up_seconds=1,
    starts=3,
    starts_dropped=2,
)
_CARD = Plan(  # A card is paid by the minute.
    load=Load(rounds=3, seconds=2, seconds_max=100),
    texts=1_024,
    warm_up_seconds=1,
    starts=2,
    starts_dropped=0,
)
_QUICK = Plan(
    load=Load(rounds=1, seconds=1, seconds_max=60),
    texts=64,
    warm_up_seconds=0.2,
    starts=1,
    starts_dropped=0,
)


def main() -> int:
    """Measure, print and write; return 1 if a server failed or answered wrongly."""
    arguments = _arguments()
    plan = _QUICK if arguments.quick else _CARD if arguments.device is Device.CUDA else _FULL
    if arguments.rounds is not None:
        plan = replace(plan, load=replace(plan.load, rounds=arguments.rounds))
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop)
    path = arguments.folder / "quick.md" if arguments.quick else CHECKOUT / "docs" / "benchmarks.md"
    right = True
    for part in arguments.only or list(Part):
        try:
            section, is_right = _measure(part, plan, arguments)
        except BenchError as exc:
            sys.exit(f"bench: {exc}")
        report.write(path, section)
        _say(f"\n{section}\nwritten: {os.path.relpath(path)}")
        right = right and is_right
        if stop.is_asked:
            return 1
    return int(not right)


class _Stop:
    """Ends what runs, so that what was started is stopped; a part that can still report what it has does so."""

    is_asked = False

    def __call__(self, *_: object) -> None:
        self.is_asked = True
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a short round, to see that all of it works")
    parser.add_argument(
        "--folder", type=Path, default=CHECKOUT / ".bench", help="of the peers' environments and logs"
    )
    parser.add_argument("--device", type=Device, choices=list(Device), default=Device.CPU, help="what computes")
    parser.add_argument("--rounds", type=int, help="of the servers under load, at most")
    parser.add_argument("--only", type=Part, choices=list(Part), action="append", help="this part; all if not given")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return arguments


def _measure(part: Part, plan: Plan, arguments: argparse.Namespace) -> tuple[str, bool]:
    """Return a part's section, and whether all that answered in it was right."""
    device: Device = arguments.device
    said = f"{' --quick' if arguments.quick else ''}{_DEVICE_SAID[device]}"
    if arguments.rounds is not None:
        said += f" --rounds {arguments.rounds}"
    command = f"python -m bench{said} --only {part}"
    match part:
        case Part.SERVED | Part.STARTS:
            servers = make_servers(device)
            places = _places(servers, arguments.folder)
            told = {one.name: versions(_python(places[one.name]), _TELLING[one.requirements]) for one in servers}
            run = _run(command, told)
            if part is Part.STARTS:
                return _starts(plan, servers, places, run, device), True
            found = _find(plan, servers, places, run, device)
            right = all(one.right for results in found.results.values() for one in results.values())
            return report.section(found), right
        case Part.ENCODER:
            table = _table("bench.encoder", ("--rounds", "3", "--device", device))
            run = _run(command, {})
            title = f"The worker's encoder alone{', one core' if device is Device.CPU else ''}{_where(device, run)}"
            return report.table_section(title, run, table), True
        case Part.QUEUE:
            return report.table_section(_QUEUE, _run(command, {}), _table("bench.queue", ())), True
        case _:
            assert_never(part)


def _where(device: Device, run: report.Run) -> str:
    """Return what is said behind a title, so that machines of a kind have a section of their own."""
    if device is Device.CUDA:
        return ", on a graphics card"
    return ", with matrix units" if run.machine.has_matrix_units else ""


def _run(command: str, told: Mapping[str, Mapping[str, str]]) -> report.Run:
    return report.Run(day=datetime.now(UTC).date(), command=command, machine=this_machine(), versions=told)


def _starts(
    plan: Plan, servers: Sequence[Server], places: Mapping[str, Place], run: report.Run, device: Device
) -> str:
    started = _cold(servers, places, device)
    warm = cold.measure(started, rounds=plan.starts, dropping=False, say=_say)
    assert warm is not None
    dropped = None
    if plan.starts_dropped:
        dropped = cold.measure(started, rounds=plan.starts_dropped, dropping=True, say=_say)
    return report.starts_section(run, warm, dropped, where=_where(device, run))


def _find(
    plan: Plan, servers: Sequence[Server], places: Mapping[str, Place], run: report.Run, device: Device
) -> report.Findings:
    machine = run.machine
    # Where a card computes, nobody saves on cores.
    pinned = device is Device.CPU and machine.server_core is not None and can_keep()
    with kept_on(machine.client_core if pinned else None):
        core = machine.server_core if pinned else None
        ceiling = _ceiling(servers[0], places[OURS], core)
        results, peaks, cards = _served(plan, servers, places, core)
    return report.Findings(
        run=run,
        pinned=pinned,
        rounds=_rounds(results),
        seconds=plan.load.seconds,
        ceiling=ceiling,
        results=results,
        peaks_mb=peaks,
        cards_mb=cards,
        where=_where(device, run),
    )


def _rounds(results: Results) -> int:
    """Return how many rounds there was time for."""
    return max(len(one.texts_per_second) for named in results.values() for one in named.values())


def _places(servers: Sequence[Server], folder: Path) -> dict[str, Place]:
    """Return what each server is started with; the first time, the peers' environments are made."""
    model = model_folder()
    places = {}
    for one in servers:
        _say(f"environment of {one.name}")
        found = programs(one.requirements, folder) if one.requirements else Path(sys.executable).parent
        places[one.name] = Place(programs=found, model=model, logs=folder / "logs")
    return places


def _python(place: Place) -> Path:
    return place.programs / "python"


def _ceiling(ours: Server, place: Place, core: int | None) -> float:
    """Return the requests a second that the clients get through when nothing is computed."""
    port = free_port()
    command = fixed.command(port, _VECTOR)
    env = {**base_environment(), "PYTHONPATH": str(CHECKOUT / "gpu_worker")}
    make = ours.request("how to renew a passport")
    with running(command, env=env, log_path=place.logs / "fixed.log", core=core):
        time.sleep(1)  # it has no model to load
        done = run_round(port, lambda _number: make(), clients=_CLIENTS, seconds=2, first=0, keep=())
    _say(f"the clients' own ceiling: {done.texts_per_second:.0f} requests/s")
    return done.texts_per_second


def _served(
    plan: Plan, servers: Sequence[Server], places: Mapping[str, Place], core: int | None
) -> tuple[Results, dict[str, float], dict[str, float]]:
    """Return what each server gave under load, its peak memory, and the card's memory that it has in the end."""
    texts = _texts(plan.texts)
    with ExitStack() as stack:
        lives: list[Live] = [stack.enter_context(live(one, places[one.name], core=core)) for one in servers]
        _say("all servers are up; the right vectors, and a warm-up")
        right = served.right_vectors(next(one for one in lives if one.server.name == PLAIN), texts)
        served.warm_up(lives, texts, clients=_CLIENTS, seconds=plan.warm_up_seconds)
        results = served.measure(lives, texts, right, cases=_CASES, load=plan.load, say=_say)
        peaks = {one.server.name: one.process.peak_mb() for one in lives}
        return results, peaks, {one.server.name: one.process.card_mb() for one in lives}


def _texts(count: int) -> dict[Mix, list[str]]:
    from tokenizers import Tokenizer  # the real one, so that lengths are what the model sees

    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count_tokens(word: str) -> int:
        return len(tokenizer.encode(word, add_special_tokens=False).ids)

    return {mix: [one.text for one in make_texts(mix, count, count_tokens=count_tokens)] for mix in Mix}


def _cold(servers: Sequence[Server], places: Mapping[str, Place], device: Device) -> dict[str, cold.Start]:
    return cold.starts([one for one in servers if "bfloat16" not in one.name], places, device)


def _table(module: str, arguments: Sequence[str]) -> str:
    """Return what another benchmark writes; that it fails is told in its place."""
    _say(f"running {module}")
    parts = os.pathsep.join(str(CHECKOUT / part) for part in ("functions", "gpu_worker"))
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**base_environment(), "PYTHONPATH": parts},
            capture_output=True,
            text=True,
            check=True,
            timeout=_TABLE_SECONDS_MAX,
        )
    except subprocess.CalledProcessError as exc:
        _say(str(exc.stderr)[-2000:])
        return f"{module} failed with exit code {exc.returncode}"
    except subprocess.TimeoutExpired:
        return f"{module} took over {_TABLE_SECONDS_MAX} s"
    return done.stdout


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
