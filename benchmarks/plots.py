"""Plots as SVG: a bar for each contender, a dot for each run."""

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.tables import Result, growth_rows, number, rates, summary

_WIDTH: Final = 900
_NAMES: Final = 190
_ROW: Final = 26
_OURS: Final = "#0a7d5a"
_THEIRS: Final = "#8893a5"
_LIMIT: Final = "#c9a227"


def bars(result: Result) -> str:
    """Draw throughput on the left and CPU cost on the right, one row per contender."""
    rows = summary(result)
    left, right = ("objects/s", "CPU ms per object") if result.unit == "objects" else ("MB/s", "CPU s per GiB")
    height = 70 + _ROW * len(rows)
    panel = (_WIDTH - _NAMES - 60) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-size="12">',
        '<g font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(result.title)}</text>',
        *_panel(result, "rate", _NAMES, panel, f"{left}, without start-up (more is better)"),
        *_panel(result, "cpu", _NAMES + panel + 40, panel, f"{right} (less is better)"),
    ]
    for index, row in enumerate(rows):
        y = 66 + index * _ROW
        parts.append(f'<text x="{_NAMES - 8}" y="{y + 4}" text-anchor="end">{escape(row["contender"])}</text>')
    return "\n".join([*parts, "</g></svg>\n"])


def _panel(result: Result, figure: str, x: float, width: float, title: str) -> Sequence[str]:
    rows = summary(result)
    dots: dict[str, list[float]] = {row["contender"]: [] for row in rows}
    for run in result.runs:
        found = rates(result, run)
        if found and not run.is_start:
            dots[run.contender].append(getattr(found, figure))
    # One outlier would flatten all other bars: its bar is cut, and its number is printed.
    ordered = sorted(max([row[figure], *dots[row["contender"]]]) for row in rows)
    longest = ordered[-1] if len(ordered) < 2 or ordered[-1] < 4 * ordered[-2] else ordered[-2]
    scale = (width - 50) / (longest or 1)
    parts = [f'<text x="{x}" y="42" fill="#444">{escape(title)}</text>']
    for index, row in enumerate(rows):
        y = 66 + index * _ROW
        value = row[figure]
        colour = _OURS if row["contender"].startswith("s3-to-azure") else _THEIRS
        if row["contender"].startswith("floor"):
            colour = _LIMIT
        length = min(value * scale, width - 50)
        parts.append(f'<rect x="{x}" y="{y - 8}" width="{length:.1f}" height="16" fill="{colour}"/>')
        places = [place for dot in dots[row["contender"]] if (place := dot * scale) <= width - 50]
        parts += [f'<circle cx="{x + place:.1f}" cy="{y}" r="2.5" fill="#222" fill-opacity="0.6"/>' for place in places]
        parts.append(f'<text x="{x + max([length, *places]) + 6:.1f}" y="{y + 4}">{number(value)}</text>')
    return parts


def growth(result: Result) -> str:
    """Draw seconds and peak memory, one row per contender."""
    rows = growth_rows(result)
    names = 260
    panel = (_WIDTH - names - 60) / 2
    height = 70 + _ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-size="12">',
        '<g font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(result.title)}</text>',
    ]
    for figure, title, x in (("wall_s", "seconds", names), ("peak_rss_mib", "peak RSS, MiB", names + panel + 40)):
        parts.append(f'<text x="{x}" y="42" fill="#444">{title}</text>')
        longest = max((row[figure] for row in rows), default=1) or 1
        for index, row in enumerate(rows):
            y, length = 66 + index * _ROW, row[figure] / longest * (panel - 50)
            parts.append(f'<rect x="{x}" y="{y - 8}" width="{length:.1f}" height="16" fill="{_OURS}"/>')
            parts.append(f'<text x="{x + length + 6:.1f}" y="{y + 4}">{number(row[figure])}</text>')
    for index, row in enumerate(rows):
        y = 70 + index * _ROW
        parts.append(f'<text x="{names - 8}" y="{y}" text-anchor="end">{escape(row["contender"])}</text>')
    return "\n".join([*parts, "</g></svg>\n"])


def ratios(title: str, rows: Sequence[tuple[str, float, float]]) -> str:
    """Draw each row's throughput and CPU as multiples of a reference, which is the line at 1."""
    names, height = 140, 80 + _ROW * len(rows)
    panel = (_WIDTH - names - 60) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-size="12">',
        '<g font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for column, (heading, x) in enumerate(
        (("throughput (more is better)", names), ("CPU (less is better)", names + panel + 40)), start=1
    ):
        parts.append(f'<text x="{x}" y="42" fill="#444">{heading}, times the reference</text>')
        longest = max([1.0, *(float(row[column]) for row in rows)])
        scale = (panel - 50) / longest
        for index, row in enumerate(rows):
            y, value = 66 + index * _ROW, float(row[column])
            is_better = value >= 1 if column == 1 else value <= 1
            colour = _OURS if is_better else "#b3452c"
            parts.append(f'<rect x="{x}" y="{y - 8}" width="{value * scale:.1f}" height="16" fill="{colour}"/>')
            parts.append(f'<text x="{x + value * scale + 6:.1f}" y="{y + 4}">{value:.2f}</text>')
        parts.append(
            f'<line x1="{x + scale:.1f}" x2="{x + scale:.1f}" y1="50" y2="{height - 20}" stroke="#222" '
            'stroke-dasharray="3 3"/>'
        )
    for index, row in enumerate(rows):
        parts.append(f'<text x="{names - 8}" y="{70 + index * _ROW}" text-anchor="end">{escape(row[0])}</text>')
    return "\n".join([*parts, "</g></svg>\n"])
