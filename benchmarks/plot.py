"""The ratios as bars, in an SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.contestants import COLUMNS
from benchmarks.report import Results
from benchmarks.scenarios import Scenario

__all__ = ["plot"]

COLOURS = {"ours": "#1f6feb", "naive": "#d29922", "broadcaster": "#8250df", "litestar": "#2da44e"}
LEFT, WIDTH, BAR, GAP = 430, 560, 9, 8


def plot(results: Results, scenarios: Sequence[Scenario]) -> str:
    """
    Draw what each application costs in relation to the yardstick, on a logarithmic scale: shorter is better.

    Where more is better (events a second), it is the yardstick's figure in relation to the application's.
    """
    groups: list[tuple[str, list[tuple[str, float]]]] = []
    for scenario, key, row in results.rows(scenarios):
        cells = [(column, results.cell(scenario.name, column, key)) for column in results.columns if column != "floor"]
        bars = [(name, 1 / cell.ratio if row.at_least else cell.ratio) for name, cell in cells if cell and cell.ratio]
        if bars and not row.absolute:
            groups.append((f"{row.name}, {row.unit}", bars))
    ratios = [ratio for _, bars in groups for _, ratio in bars] or [1.0]
    low, high = math.floor(math.log10(min(ratios) * 0.99)), math.ceil(math.log10(max(*ratios, 1.01)))

    def place(ratio: float) -> float:
        return LEFT + (math.log10(ratio) - low) / (high - low) * WIDTH

    height = 70 + sum(len(bars) * BAR + GAP for _, bars in groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 60} {height}">',
        "<style>text { font: 11px sans-serif } .small { font-size: 9px }</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{LEFT}" y="18">Cost in relation to floor (1): shorter is better</text>',
    ]
    for i, column in enumerate(each for each in results.columns if each != "floor"):
        title = escape(COLUMNS[column].title.replace(" {}", ""))
        parts.append(f'<rect x="{20 + i * 260}" y="{height - 18}" width="10" height="10" fill="{COLOURS[column]}"/>')
        parts.append(f'<text x="{35 + i * 260}" y="{height - 9}">{title}</text>')
    for power in range(low, high + 1):
        x, colour = place(10**power), "#333" if power == 0 else "#ddd"
        parts.append(f'<path d="M{x:.1f} 40V{height - 28}" stroke="{colour}"/>')
        parts.append(f'<text x="{x:.1f}" y="36" text-anchor="middle">{10**power:g}</text>')
    y = 44.0
    for name, bars in groups:
        middle = y + len(bars) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for column, ratio in bars:
            width = max(place(ratio) - LEFT, 1)
            parts.append(
                f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 1}" fill="{COLOURS[column]}"/>'
                f'<text x="{LEFT + width + 4:.1f}" y="{y + 8:.1f}" class="small">{ratio:.2f}</text>'
            )
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>"]) + "\n"
