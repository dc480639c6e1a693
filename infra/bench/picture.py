"""The comparison as a picture that can be read in a light page and in a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from infra.bench.findings import Bar, Finding, number

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 760, 252, 98, 34, 52
_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px } .small { font-size: 12px; fill: #59636e }
  .ours { fill: #0969da } .other { fill: #8c959f } .spread { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .small { fill: #9198a1 } .ours { fill: #4493f8 } .other { fill: #656c76 }
    .spread { stroke: #f0f6fc }
  }
"""


def write(found: Sequence[Finding], docs: Path) -> list[Path]:
    """Draw the full path's bars; return where, if it was measured."""
    shown = [finding for finding in found if finding.bars]
    if not shown:
        return []
    path = docs / "bench-gate.svg"
    path.write_text(draw(shown[0]), "utf-8")
    return [path]


def draw(finding: Finding) -> str:
    """Return the picture: a bar a gate, with its least and its most. Ours comes first, then the best other."""
    ours, *others = finding.bars
    bars = [ours, *sorted(others, key=lambda bar: bar.value, reverse=True)]
    most = max(bar.most for bar in bars)
    height = _TOP + _ROW * len(bars) + 12
    rows = [_row(place, bar, most) for place, bar in enumerate(bars)]
    label = "; ".join(f"{bar.name}: {number(bar.value)}" for bar in bars)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">\n<style>{_STYLE}</style>\n'
        f'<text class="title" x="12" y="22">Full path: {escape(finding.unit)}</text>\n'
        '<text class="small" x="12" y="40">median of paired rounds; the line shows least and most; '
        "more is better</text>\n" + "\n".join(rows) + "\n</svg>\n"
    )


def _row(place: int, bar: Bar, most: float) -> str:
    y, scale = _TOP + _ROW * place, (_WIDTH - _LEFT - _RIGHT) / most
    middle = y + 11
    return (
        f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect class="{"ours" if place == 0 else "other"}" x="{_LEFT}" y="{y}" '
        f'width="{max(bar.value * scale, 1):.1f}" height="22" rx="3"/>'
        f'<line class="spread" x1="{_LEFT + bar.least * scale:.1f}" x2="{_LEFT + bar.most * scale:.1f}" '
        f'y1="{middle}" y2="{middle}"/>'
        f'<text x="{_LEFT + bar.most * scale + 10:.1f}" y="{y + 16}">{number(bar.value)}</text>'
    )
