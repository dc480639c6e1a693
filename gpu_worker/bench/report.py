"""The report: what was measured, on what and how, as sections of `docs/benchmarks.md`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from bench.corpus import Mix
from bench.figures import Spread, quantile, ratios
from bench.machine import Machine
from bench.served import CHECKED_EVERY, COSINE_MIN, Case, Results, Served
from bench.servers import OURS

_NONE = "-"
_HEAD = "# Benchmarks\n\nEach section is written by the command that measured it; none is edited by hand.\n"

_GOALS = {(Mix.QUERIES, 32): 3.0, (Mix.MIXTURE, 32): 2.5}
"""How many times the best peer's texts a second are aimed at, by mix and clients."""

Starts = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """When, how and on what something was measured."""

    day: date
    command: str
    machine: Machine
    versions: Mapping[str, Mapping[str, str]]
    """Of packages, by server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What servers gave under load."""

    run: Run
    pinned: bool
    """Whether servers and clients were on cores of their own."""
    rounds: int
    seconds: float
    ceiling: float
    """Requests a second that the clients send to a server that computes nothing."""
    results: Results
    peaks_mb: Mapping[str, float]
    cards_mb: Mapping[str, float] = field(default_factory=dict)
    """What each server has of a card's memory in the end."""
    where: str = ""
    """What the section's title says of the machine."""


def write(path: Path, section: str, *, title: str = "") -> None:
    """Put the section in its place in the file, which is made if there is none; other sections stay as they are."""
    before = path.read_text("utf-8") if path.exists() else _HEAD
    heading = title or re.escape(section.partition("\n")[0])
    kept = re.split(rf"^{heading}\n.*?(?=^## |\Z)", before, maxsplit=1, flags=re.MULTILINE | re.DOTALL)
    head, tail = kept[0], "".join(kept[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head.rstrip()}\n\n{section.rstrip()}\n" + (f"\n{tail}" if tail else ""), "utf-8")


def section(found: Findings) -> str:
    """Return the section of the servers under load."""
    return (
        "\n\n".join(
            [
                f"## The worker{found.where}",
                _told(found),
                _goals(found),
                *_cases(found),
                _memory(found),
                _again(found),
            ]
        )
        + "\n"
    )


def starts_section(run: Run, warm: Starts, dropped: Starts | None, *, where: str = "") -> str:
    """Return the section of the cold starts."""
    return f"## The worker's cold start{where}\n\n{_run(run)}\n\n{_starts(warm, dropped)}\n"


def table_section(title: str, run: Run, table: str) -> str:
    """Return the section of a benchmark that writes its own table."""
    return f"## {title}\n\n{_run(run)}\n\n```\n{table.strip()}\n```\n"


def _run(run: Run) -> str:
    machine = run.machine
    memory = f", {machine.memory_gib:.0f} GiB" if machine.memory_gib else ""
    flags = ", ".join(machine.flags) or "none of those that matter here"
    lines = [
        f"- Machine: {machine.processor}, {len(machine.cores)} cores{memory}; {flags}. {machine.system}. "
        f"Load before: {machine.load:.1f}.",
        *([f"- Card: {machine.card}."] if machine.card else []),
        *(f"- {name}: {_named(versions)}" for name, versions in run.versions.items()),
    ]
    return f"Measured on {run.day.isoformat()} by `{run.command}`.\n\n" + "\n".join(lines)


def _told(found: Findings) -> str:
    where = "its server on one core and the clients on another" if found.pinned else "not kept on cores of their own"
    lines = [
        _run(found.run),
        f"- {found.rounds} rounds in turns (A B C ... A B C ...) of {found.seconds:g} s, half of it for one client, "
        f"and the answers then still out; {where}. Each client sends one text, waits, and sends the next.",
        "- Model: all-MiniLM-L6-v2. Texts: made from word lists, of exact lengths; the same ones for all in a round.",
        f"- Our requests are signed and checked, as the gate's are. The clients reach {found.ceiling:.0f} requests a "
        "second against a server that computes nothing, signing included.",
        f"- Each {CHECKED_EVERY}th text's vector is compared with plain transformers' in fp32, one text at a time; a "
        f"cosine under {COSINE_MIN} makes the row wrong.",
        "- Not here: fastembed and embed_anything (0.7.1), whose packages have no server; text-embeddings-inference, "
        "which is no package; both of the latter come as container images.",
    ]
    return "\n".join(lines)


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _cases(found: Findings) -> Iterator[str]:
    head = (
        "server",
        "texts/s: median (min to max)",
        "p50 ms",
        "p99 ms",
        "texts per CPU second",
        "least cosine",
        "ours by its: median (min to max)",
    )
    for case, results in found.results.items():
        rows = [_row(name, served, results[OURS]) for name, served in results.items()]
        yield f"### {_title(case)}\n\n{_table(head, rows)}"


def _goals(found: Findings) -> str:
    """Hold the goals against the best peer of each case that has one."""
    rows = []
    for case, results in found.results.items():
        goal = _GOALS.get((case.mix, case.clients))
        peers = {name: one for name, one in results.items() if name != OURS and one.right}
        if goal is None or not (peers and results[OURS].right):
            continue
        best = max(peers, key=lambda name: Spread.of(peers[name].texts_per_second).median)
        ratio = ratios(results[OURS].texts_per_second, peers[best].texts_per_second)
        met = "yes" if ratio.median >= goal else "**no**"
        rows.append([f"{_title(case)}, beside {best}", f"≥ {goal:g} x", _spread(ratio, _times), met])
    return _table(("texts a second, beside the best peer", "goal", "measured: median (min to max)", "met"), rows)


def _title(case: Case) -> str:
    return str(case)[0].upper() + str(case)[1:]


def _row(name: str, served: Served, ours: Served) -> list[str]:
    if not served.right:
        return [f"{name}: **wrong**, {_wrong(served)}", *[_NONE] * 6]
    cpu = Spread.of(served.texts_per_cpu_second).median
    return [
        name,
        _spread(Spread.of(served.texts_per_second), _rate),
        f"{quantile(served.latencies_ms, 0.5):.0f}",
        f"{quantile(served.latencies_ms, 0.99):.0f}",
        _rate(cpu) if cpu else _NONE,
        f"{served.cosine_min:.5f}",
        _NONE if served is ours else _spread(ratios(ours.texts_per_second, served.texts_per_second), _times),
    ]


def _wrong(served: Served) -> str:
    if served.failures:
        return f"{len(served.failures)} requests failed, the first with {served.failures[0][:80]}"
    return f"least cosine {served.cosine_min:.4f} of {served.checked} vectors"


def _starts(warm: Starts, dropped: Starts | None) -> str:
    head = ["what", "files in memory: best (median)", "ours by its: median (min to max)"]
    if dropped:
        head.insert(2, "files on disk: best (median)")
    rows = []
    for name, taken in warm.items():
        best = _NONE if name == OURS else _spread(ratios(taken, warm[OURS]), _times)
        rows.append([name, _best(taken), *([_best(dropped[name])] if dropped else []), best])
    told = (
        "Seconds from the process's beginning to its first vector, warm-up included where a server does one; "
        f"{len(next(iter(warm.values())))} rounds in turns, all cores. The ratio says how many times "
        "longer it takes than ours."
    )
    return f"{told}\n\n{_table(head, rows)}"


def _best(taken: Sequence[float]) -> str:
    spread = Spread.of(taken)
    return f"{spread.least:.2f} s ({spread.median:.2f})"


def _memory(found: Findings) -> str:
    cards = [found.cards_mb] if any(found.cards_mb.values()) else []
    columns = [found.peaks_mb, *cards]
    rows = [[name, *(_mb(column.get(name, 0)) for column in columns)] for name in found.peaks_mb]
    table = _table(("server", "peak", "of the card")[: 1 + len(columns)], rows)
    told = "The most that a server's processes had (VmHWM), after all rounds"
    told += ", and what they then had of the card's memory." if cards else "."
    return f"### Peak memory\n\n{told}\n\n{table}"


def _mb(value: float) -> str:
    return f"{value:.0f} MB" if value else _NONE


def _again(found: Findings) -> str:
    return (
        f"### To run it again\n\n    {found.run.command}\n\n"
        "The peers' environments are made in `.bench` the first time, of the pins in `gpu_worker/bench/peers`; their "
        "logs are there, too. Ratios are worth more than the numbers beside them: those are of one machine, one day."
    )


def _spread(spread: Spread, told: Callable[[float], str]) -> str:
    return f"{told(spread.median)} ({told(spread.least)} to {told(spread.most)})"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _times(value: float) -> str:
    return f"{value:.2f} x"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
