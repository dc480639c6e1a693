"""The benchmark's report and picture tell what was found, and what was not reached."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from infra.bench import picture, report
from infra.bench.findings import Bar, Finding, Goal, keep, kept

BARS = {"ours": 10, "slow": 2, "a <peer>": 5}


def finding(*, met: bool = True) -> Finding:
    return Finding(
        part="throughput",
        title="The full path",
        day="2026-11-25",
        text="told",
        goals=[Goal(what="calls a second", goal="≥ 2 x", measured="1.50 x", met=met)],
        bars=[Bar(name=name, value=value, least=value - 1, most=value + 1) for name, value in BARS.items()],
        unit="calls a second",
    )


def test_what_was_found_is_kept_between_runs(tmp_path: Path) -> None:
    """Parts are run one by one, and told together."""
    keep(finding(), tmp_path)

    assert kept("throughput", tmp_path) == finding()
    assert kept("cold", tmp_path) is None


def test_a_goal_that_was_not_reached_is_told_as_such(tmp_path: Path) -> None:
    """The report is honest whichever way it went."""
    assert "| calls a second | ≥ 2 x | 1.50 x | **no** |" in report.section([finding(met=False)])


def test_other_sections_stay_as_they_are(tmp_path: Path) -> None:
    """Both hops' benchmarks write into one file."""
    (tmp_path / "benchmarks.md").write_text("# Benchmarks\n\n## The worker\n\nfast\n", "utf-8")
    keep(finding(), tmp_path / "found")

    report.write(tmp_path / "found", tmp_path)
    report.write(tmp_path / "found", tmp_path)

    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert text.count("## The gate") == 1
    assert "## The worker\n\nfast" in text


def test_the_picture_is_svg_that_names_every_bar_the_best_peer_first() -> None:
    """Names come from peers and go into XML."""
    drawn = ElementTree.fromstring(picture.draw(finding()))

    texts = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in BARS] == ["ours", "a <peer>", "slow"]
