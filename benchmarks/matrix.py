"""The matrix: sizes by places, this project with its defaults against the best of rclone's settings.

The first round runs every contender; the other rounds repeat this project and the fastest rclone of the first.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import MIB, project, rclone
from benchmarks.machine import about, sentence
from benchmarks.measure import DISTURBED_SHARE
from benchmarks.plots import ratios
from benchmarks.publish import put
from benchmarks.rig import FAR, PLAIN, S3_LIKE, TLS, Climate, Family, rig
from benchmarks.rounds import one_run, undisturbed_run
from benchmarks.scenarios import TINY
from benchmarks.tables import Result, Run, number, summary

NAME: Final = "matrix"
_OURS: Final = "s3-to-azure"
_TRANSFERS: Final = (4, 32, 128, 300)
_PLACES: Final = {"near": PLAIN, "tls": TLS, "s3like": S3_LIKE, "far": FAR}
# Objects near, and at a distance.
_SIZES: Final = {
    "1KB": (1_000, 20_000, 6_000),
    "10KB": (10_000, 20_000, 6_000),
    "100KB": (100_000, 6_000, 4_000),
    "1MB": (1_000_000, 1_500, 1_000),
    "4MB": (4_000_000, 500, 400),
    "16MB": (16_000_000, 150, 150),
    "64MB": (64_000_000, 40, 40),
    "1GiB": (1024 * MIB, 3, 3),
    "mixed": (0, 1, 1),
}
_MIXED: Final = Family.of_parts(
    "mixed",
    Family("a", 10_000, 5_000),
    Family("b", 1_000_000, 300),
    Family("c", 16_000_000, 60),
    Family("d", 1024 * MIB, 2),
)
_OF_TLS: Final = ("10KB", "1MB", "16MB", "1GiB")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose cells of the matrix."""
    parser.add_argument("--sizes", default=",".join(_SIZES), help="sizes of the matrix (default: %(default)s)")
    parser.add_argument("--places", default=",".join(_PLACES), help="places of the matrix (default: %(default)s)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: this project beside the best rclone.

    Attributes:
        unit: Of the rates.
        best: The name of that rclone.
        others_share: The share of the machine that other processes took, as a median.
    """

    size: str
    place: str
    unit: str
    rate: float
    best: str
    best_rate: float
    cpu_ratio: float
    rss_mib: float
    best_rss_mib: float
    runs: int
    others_share: float

    @property
    def ratio(self) -> float:
        """The rate as a multiple of the best rclone's."""
        return self.rate / self.best_rate


def measure(options: argparse.Namespace) -> bool:
    """Measure the chosen cells, print one table, and write JSON and a plot; return whether all runs succeeded."""
    sizes = _chosen(options.sizes, tuple(_SIZES), "--sizes")
    places = _chosen(options.places, tuple(_PLACES), "--places")
    cells: list[Cell] = []
    results: list[Result] = []
    succeeded = True
    for place in places:
        for size in sizes:
            if place == "tls" and size not in _OF_TLS:
                continue
            print(f"\n{size}, {place}", flush=True)
            result = _measured(size, place, options)
            results.append(result)
            succeeded &= all(run.cost is not None for run in result.runs)
            cell = cell_of(size, place, result)
            if cell:
                cells.append(cell)
                print(f"  x {cell.ratio:.2f} of {cell.best}, CPU x {cell.cpu_ratio:.2f}", flush=True)
    text = table_of(cells)
    machine = about("benchmarks.run")
    print(f"\n{text}\n\n{sentence(machine)}. `{machine['command']}`", flush=True)
    stem = options.out / NAME
    document = {"cells": [dataclasses.asdict(cell) for cell in cells], "results": [*map(dataclasses.asdict, results)]}
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    bars = [(f"{cell.size}, {cell.place}", cell.ratio, cell.cpu_ratio) for cell in cells]
    stem.with_suffix(".svg").write_text(ratios("Against the best rclone", bars), encoding="utf-8")
    if options.publish:
        worst = max(cell.others_share for cell in cells)
        if worst > DISTURBED_SHARE:
            raise SystemExit(f"Other processes took {worst:.0%} of the machine: such a run is not published.")
        plot = f"![Sizes by places, against the best rclone](benchmarks/{NAME}.svg)"
        put(NAME, "\n".join([plot, "", text, "", f"{sentence(machine)}. `{machine['command']}`"]))
    return succeeded


def _chosen(text: str, known: Sequence[str], option: str) -> Sequence[str]:
    chosen = text.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SystemExit(f"{option}: {', '.join(unknown)} is not one of {', '.join(known)}.")
    return chosen


def _family(size: str, climate: Climate) -> Family:
    size_bytes, near, distant = _SIZES[size]
    if size == "mixed":
        return _MIXED
    return Family(f"m{size.lower()}", size_bytes, distant if climate.latency_ms else near)


def _measured(size: str, place: str, options: argparse.Namespace) -> Result:
    climate = _PLACES[place]
    family = _family(size, climate)
    contenders = [project(_OURS)] + [
        rclone(f"rclone, {transfers} transfers", "--transfers", str(transfers)) for transfers in _TRANSFERS
    ]
    settings = {contender.name: contender.settings for contender in contenders}
    runs: list[Run] = []
    with rig(climate, [family, TINY]) as servers:
        for turn in range(options.runs):
            for contender in contenders:
                if turn == 0:
                    runs.append(one_run(servers, contender, TINY, turn, options.wait, is_start=True))
                runs.append(undisturbed_run(servers, contender, family, turn, options.wait))
            if turn == 0:
                best = _best(result_of(size, place, settings, runs))
                contenders = [each for each in contenders if each.name in (_OURS, best)]
    return result_of(size, place, settings, runs)


def result_of(size: str, place: str, settings: dict[str, str], runs: list[Run]) -> Result:
    """Return the runs of a cell; ``settings`` are those of the contenders, by name."""
    return Result(
        name=f"{NAME}-{size}-{place}",
        title=f"{size}, {place}",
        unit="objects" if 0 < _SIZES[size][0] <= MIB else "bytes",
        reference=_OURS,
        limit=None,
        baseline=None,
        runs=runs,
        settings=settings,
        models={},
        about=about("benchmarks.run"),
    )


def _best(result: Result) -> str:
    """Return the rclone with the best rate among those of most rounds."""
    rows = [row for row in summary(result) if row["contender"] != _OURS]
    return str(max(rows, key=lambda row: (row["runs"], row["rate"]), default={"contender": ""})["contender"])


def cell_of(size: str, place: str, result: Result) -> Cell | None:
    """Return the cell; None if no run of one of the two succeeded."""
    rows = {row["contender"]: row for row in summary(result)}
    best = _best(result)
    if _OURS not in rows or best not in rows:
        return None
    own, other = rows[_OURS], rows[best]
    return Cell(
        size=size,
        place=place,
        unit="objects/s" if result.unit == "objects" else "MB/s",
        rate=own["rate"],
        best=best,
        best_rate=other["rate"],
        cpu_ratio=own["cpu"] / (other["cpu"] or 1),
        rss_mib=own["peak_rss_mib"],
        best_rss_mib=other["peak_rss_mib"],
        runs=own["runs"],
        others_share=own["others_share"],
    )


def table_of(cells: Sequence[Cell]) -> str:
    """Return the cells as a Markdown table."""
    head = ["objects", "place", "s3-to-azure", "best rclone", "x", "CPU x", "peak RSS MiB", "rclone's", "runs"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    lines += [
        [
            cell.size,
            cell.place,
            f"{number(cell.rate)} {cell.unit}",
            f"{number(cell.best_rate)} ({cell.best.removeprefix('rclone, ')})",
            f"**{cell.ratio:.2f}**",
            f"{cell.cpu_ratio:.2f}",
            f"{cell.rss_mib:,.0f}",
            f"{cell.best_rss_mib:,.0f}",
            str(cell.runs),
        ]
        for cell in cells
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
