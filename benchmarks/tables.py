"""Medians and ratios of runs, and the tables of them."""

from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal

from benchmarks.measure import Cost

GIB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender.

    Attributes:
        is_start: The run copied one byte, so its cost is the start-up.
        cost: None where the run failed.
    """

    contender: str
    round: int
    is_start: bool
    size_bytes: int
    objects: int
    cost: Cost | None
    source_requests: int
    sink_requests: dict[str, int]


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of a scenario, with its settings and its machine.

    Attributes:
        models: MB/s that the model of a contender allows.
    """

    name: str
    title: str
    unit: Literal["bytes", "objects", "growth"]
    reference: str
    limit: str | None
    baseline: str | None
    runs: list[Run]
    settings: dict[str, str]
    models: dict[str, float]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rates:
    """The figures of one run, without its start-up.

    Attributes:
        rate: MB/s or objects/s.
        whole_rate: The same with start-up.
        cpu: Seconds per GiB, or milliseconds per object.
    """

    rate: float
    whole_rate: float
    cpu: float


def starts(result: Result) -> dict[str, tuple[float, float]]:
    """Return each contender's start-up: median (wall, CPU) seconds of copying one byte."""
    found = {}
    for name in result.settings:
        costs = [run.cost for run in result.runs if run.contender == name and run.is_start and run.cost]
        if costs:
            found[name] = (median(c.wall_s for c in costs), median(c.cpu_s for c in costs))
    return found


def rates(result: Result, run: Run) -> Rates | None:
    """Return the figures of a run; None where it failed."""
    if run.cost is None:
        return None
    wall_s, cpu_s = starts(result).get(run.contender, (0.0, 0.0))
    copying_s, copying_cpu_s = max(run.cost.wall_s - wall_s, 1e-3), max(run.cost.cpu_s - cpu_s, 0.0)
    if result.unit == "objects":
        return Rates(run.objects / copying_s, run.objects / run.cost.wall_s, copying_cpu_s / run.objects * 1e3)
    amount = run.size_bytes / 1e6
    return Rates(amount / copying_s, amount / run.cost.wall_s, copying_cpu_s / (run.size_bytes / GIB))


def summary(result: Result) -> list[dict[str, Any]]:
    """Return one row per contender: medians, and medians of the ratios within each round."""
    if result.unit == "growth":
        return growth_rows(result)
    rounds: dict[str, dict[int, Rates]] = {name: {} for name in result.settings}
    costs: dict[str, list[Cost]] = {name: [] for name in result.settings}
    for run in result.runs:
        found = rates(result, run)
        if found and run.cost and not run.is_start:
            rounds[run.contender][run.round] = found
            costs[run.contender].append(run.cost)
    started = starts(result)

    def ratio(name: str, to: str | None, figure: str) -> float | None:
        both = set(rounds[name]) & set(rounds.get(to or "", {}))
        values = [getattr(rounds[name][r], figure) / getattr(rounds[to or ""][r], figure) for r in sorted(both)]
        return median(values) if values else None

    rows = []
    for name, own in rounds.items():
        if not own:
            continue
        rows.append(
            {
                "contender": name,
                "runs": len(own),
                "rate": median(r.rate for r in own.values()),
                "rate_range": (min(r.rate for r in own.values()), max(r.rate for r in own.values())),
                "whole_rate": median(r.whole_rate for r in own.values()),
                "cpu": median(r.cpu for r in own.values()),
                "rate_to_reference": ratio(name, result.reference, "rate"),
                "whole_rate_to_reference": ratio(name, result.reference, "whole_rate"),
                "cpu_to_reference": ratio(name, result.reference, "cpu"),
                "rate_to_limit": ratio(name, result.limit, "rate"),
                "peak_rss_mib": max(cost.peak_rss_bytes for cost in costs[name]) / 2**20,
                "start_wall_s": started.get(name, (None, None))[0],
                "start_cpu_s": started.get(name, (None, None))[1],
                "rig_cpu_s": median(cost.rig_cpu_s for cost in costs[name]),
                "others_share": median(cost.others_share for cost in costs[name]),
            }
        )
    return rows


def table(result: Result) -> str:
    """Return the summary as a Markdown table."""
    if result.unit == "growth":
        return _growth_table(result)
    unit, cost = ("objects/s", "CPU ms per object") if result.unit == "objects" else ("MB/s", "CPU s per GiB")
    versus = f"x {result.reference}"
    head = ["contender", unit, "lowest to highest", versus, cost, versus]
    head += ["of the floor"] if result.limit else []
    head += ["of the model's MB/s"] if result.models else []
    head += [f"{unit} with start-up", "start-up s (CPU)", "peak RSS MiB", "runs"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in summary(result):
        low, high = row["rate_range"]
        lines.append(
            [
                row["contender"],
                f"**{number(row['rate'])}**",
                f"{number(low)} to {number(high)}",
                _times(row["rate_to_reference"]),
                f"**{number(row['cpu'])}**",
                _times(row["cpu_to_reference"]),
                *([f"{row['rate_to_limit']:.0%}" if row["rate_to_limit"] else ""] if result.limit else []),
                *([_share(row["rate"], result.models.get(row["contender"]))] if result.models else []),
                number(row["whole_rate"]),
                f"{row['start_wall_s']:.2f} ({row['start_cpu_s']:.2f})" if row["start_wall_s"] else "",
                f"{row['peak_rss_mib']:,.0f}",
                str(row["runs"]),
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def growth_rows(result: Result) -> list[dict[str, Any]]:
    """Return one row per contender: medians of its runs, with their start-up."""
    rows = []
    cpu_s = {
        name: {run.round: run.cost.cpu_s for run in result.runs if run.contender == name and run.cost}
        for name in result.settings
    }
    base = cpu_s.get(result.baseline or "", {})
    for name in result.settings:
        own = [(run, run.cost) for run in result.runs if run.contender == name and run.cost]
        above = [cpu_s[name][number] - base[number] for number in sorted(set(cpu_s[name]) & set(base))]
        if own:
            rows.append(
                {
                    "contender": name,
                    "runs": len(own),
                    "objects": own[0][0].objects,
                    "size_bytes": own[0][0].size_bytes,
                    "wall_s": median(cost.wall_s for _, cost in own),
                    "cpu_s": median(cost.cpu_s for _, cost in own),
                    "cpu_s_above_baseline": median(above) if above and name != result.baseline else None,
                    "peak_rss_mib": max(cost.peak_rss_bytes for _, cost in own) / 2**20,
                    "source_requests": median(run.source_requests for run, _ in own),
                    "sink_requests": median(
                        sum(count for kind, count in run.sink_requests.items() if kind != "connections")
                        for run, _ in own
                    ),
                }
            )
    return rows


def _growth_table(result: Result) -> str:
    above = [f"CPU s above {result.baseline}"] if result.baseline else []
    head = ["what", "seconds", "CPU s", *above, "peak RSS MiB", "requests to S3", "requests to Azure", "runs"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in growth_rows(result):
        requests = [f"{row[side]:,.0f}" if row["objects"] else "" for side in ("source_requests", "sink_requests")]
        figures = [f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}"]
        if result.baseline:
            more = row["cpu_s_above_baseline"]
            figures.append("" if more is None else f"**{more:.2f}**")
        figures.append(f"{row['peak_rss_mib']:,.0f}")
        lines.append([row["contender"], *figures, *requests, str(row["runs"])])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(value: float) -> str:
    """Write a figure with two decimals below 100, and none above."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _share(rate: float, model_mb_s: float | None) -> str:
    return f"{rate / model_mb_s:.0%} of {number(model_mb_s)}" if model_mb_s else ""


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
