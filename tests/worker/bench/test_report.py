"""The report's place in its file, and what it says of a server that is wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from bench.corpus import Mix
from bench.machine import this_machine
from bench.report import Findings, Run, section, starts_section, table_section, write
from bench.served import Case, Served
from bench.servers import OURS

CASE = Case(Mix.QUERIES, 32)
RUN = Run(
    day=date(2026, 11, 21),
    command="make bench-worker",
    machine=this_machine(),
    versions={OURS: {"torch": "2.13.0"}},
)


def served(*rates: float, cosine_min: float = 1.0) -> Served:
    return Served(
        texts_per_second=list(rates),
        texts_per_cpu_second=list(rates),
        latencies_ms=[1.0, 2.0, 9.0],
        cosine_min=cosine_min,
        checked=4,
    )


def findings(peer: Served) -> Findings:
    return Findings(
        run=RUN,
        pinned=True,
        rounds=3,
        seconds=3,
        ceiling=5_000,
        results={CASE: {OURS: served(10, 40, 20), "peer": peer}},
        peaks_mb={OURS: 300.0},
    )


def test_a_ratio_is_of_paired_rounds() -> None:
    """Rounds of 10, 40, 20 against 5, 10, 10 are 2, 4 and 2 times as fast."""
    assert "| 2.00 x (2.00 x to 4.00 x) |" in section(findings(served(5, 10, 10)))


def test_a_goal_is_held_against_the_best_peer_that_answers_rightly() -> None:
    found = findings(served(5, 10, 10))
    found.results[CASE]["slow"] = served(1, 1, 1)
    found.results[CASE]["wrong"] = served(90, 90, 90, cosine_min=0.9)

    told = section(found)
    assert "| Short queries, 32 clients, beside peer | ≥ 3 x | 2.00 x (2.00 x to 4.00 x) | **no** |" in told
    found.results[CASE]["peer"] = served(2, 10, 5)
    assert "| Short queries, 32 clients, beside peer | ≥ 3 x | 4.00 x (4.00 x to 5.00 x) | yes |" in section(found)


def test_a_fast_wrong_answer_is_no_answer() -> None:
    told = section(findings(served(1_000, 1_000, 1_000, cosine_min=0.99)))

    assert "peer: **wrong**, least cosine 0.9900 of 4 vectors" in told
    assert "1000" not in told.partition("### Peak memory")[0].partition("| server |")[2]


def test_a_server_that_nobody_checked_is_not_right() -> None:
    assert not Served(texts_per_second=[9.0]).right


def test_the_section_is_replaced_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "benchmarks.md"
    write(path, "## The worker\n\nold\n\n### Cold start\n\nold\n")
    path.write_text(path.read_text("utf-8") + "\n## The gate\n\nits own\n", "utf-8")
    write(path, "## The worker\n\nnew\n")
    text = path.read_text("utf-8")

    assert text.startswith("# Benchmarks\n")
    assert "old" not in text
    assert text.endswith("## The worker\n\nnew\n\n## The gate\n\nits own\n")


def test_each_part_has_a_section_of_its_own(tmp_path: Path) -> None:
    """A part that is measured again leaves the others as they were."""
    path = tmp_path / "benchmarks.md"
    write(path, section(findings(served(5, 10, 10))))
    write(path, starts_section(RUN, {OURS: [1.0, 2.0], "peer": [4.0, 6.0]}, None))
    write(path, table_section("The worker's queue", RUN, "9 jobs"))
    write(path, table_section("The worker's queue", RUN, "10 jobs"))
    text = path.read_text("utf-8")

    assert "| peer | 4.00 s (5.00) | 3.50 x (3.00 x to 4.00 x) |" in text
    assert "9 jobs" not in text
    assert text.index("## The worker\n") < text.index("## The worker's cold start\n") < text.index("10 jobs")
