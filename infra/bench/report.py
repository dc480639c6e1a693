"""The gate's section of `docs/benchmarks.md`, and its picture, of what the parts found last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.machine import this_machine
from bench.report import write as write_section
from infra.bench import picture
from infra.bench.findings import Finding, kept, table

PARTS = ("throughput", "refused", "operations", "racing", "cold", "held", "growth", "cost")
_SECTION = "## The gate"


def write(findings: Path, docs: Path) -> list[Path]:
    """Write the section and the picture; return where they are."""
    found = [finding for part in PARTS if (finding := kept(part, findings))]
    path = docs / "benchmarks.md"
    write_section(path, section(found), title=_SECTION)
    return [path, *picture.write(found, docs)]


def section(found: Sequence[Finding]) -> str:
    """Return the section in Markdown."""
    machine = this_machine()
    memory = f", {machine.memory_gib:.0f} GiB" if machine.memory_gib else ""
    versions = [
        f"- {name}: {', '.join(f'{package} {version}' for package, version in packages.items())}"
        for finding in found
        for name, packages in finding.versions.items()
    ]
    pythons = sorted({finding.python for finding in found if finding.python})
    days = sorted({finding.day for finding in found})
    intro = [
        f"Measured on {' and '.join(days)} by `make bench`.",
        "\n".join(
            [
                f"- Machine: {machine.processor}, {len(machine.cores)} cores{memory}. {machine.system}.",
                "- Each gate is one process on one core, in an environment of its own, at pinned versions. "
                "On the other core is all else: the load (`wrk`), Redis, and nginx, which is everybody's upstream.",
                f"- Gates in Python run on Python {' and '.join(pythons)}.",
                *versions,
            ]
        ),
    ]
    goals = [goal for finding in found for goal in finding.goals]
    head = ("what", "goal", "measured", "met")
    rows = [[goal.what, goal.goal, goal.measured, "yes" if goal.met else "**no**"] for goal in goals]
    parts = [f"### {finding.title}\n\n{finding.text}\n\nLoad before: {finding.load:.1f}." for finding in found]
    again = (
        "### To run it again\n\n    make bench\n    make bench ONLY=throughput\n\n"
        "Ratios are worth more than the numbers beside them: those are of one machine, one day."
    )
    return "\n\n".join([_SECTION, *intro, table(head, rows), *parts, again]) + "\n"
