"""The benchmarks follow the names of the code that they measure, and start as the pages say."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import matrix
from benchmarks.measure import Cost
from benchmarks.programs.cpu_profile import WRAPPED
from benchmarks.rig import Family
from benchmarks.tables import Run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", sorted(WRAPPED))
def test_profiled_functions_exist(kind: str) -> None:
    """The profile wraps functions by their names, which a rename would otherwise break unnoticed."""
    missing = [name for owner, name, _ in WRAPPED[kind] if not callable(getattr(owner, name, None))]
    assert missing == []


@pytest.mark.parametrize(
    "command",
    [
        ["benchmarks/plan_memory.py"],
        ["benchmarks/plan_cost.py"],
        ["-m", "benchmarks.run"],
        ["-m", "benchmarks.cpu_profile"],
        ["-m", "benchmarks.events"],
        ["-m", "benchmarks.listing"],
        ["-m", "benchmarks.fetched"],
    ],
    ids=lambda command: command[-1],
)
def test_benchmarks_start(command: list[str]) -> None:
    """Their imports are found from the project's folder."""
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


def test_mixed_objects_are_listed_in_order() -> None:
    """A listing in another order would be told as a store that does not sort its keys."""
    family = Family.of_parts("mixed", Family("a", 10, 3), Family("b", 1_000, 2))
    keys = list(family.keys())
    assert keys == sorted(keys)
    assert (len(keys), family.total_bytes) == (family.count, 2_030) == (5, 2_030)


def test_matrix_compares_with_the_fastest_rclone() -> None:
    """The first round decides which rclone that is; its other rounds are compared, and start-up is subtracted."""

    def ran(name: str, wall_s: float, turn: int, *, is_start: bool = False) -> Run:
        cost = Cost(wall_s, wall_s, 100 << 20, 0.0, 0.05)
        return Run(name, turn, is_start, 10**9, 1_000, cost, 0, {})

    names = ("s3-to-azure", "rclone, 4 transfers", "rclone, 32 transfers")
    runs = [ran(name, 1.0, 0, is_start=True) for name in names]
    runs += [
        ran(names[0], 2.0, 0),
        ran(names[1], 9.0, 0),
        ran(names[2], 5.0, 0),
        ran(names[0], 2.0, 1),
        ran(names[2], 5.0, 1),
    ]
    cell = matrix.cell_of("1MB", "near", matrix.result_of("1MB", "near", dict.fromkeys(names, ""), runs))
    assert cell is not None
    assert (cell.best, cell.rate, cell.ratio, cell.unit) == (names[2], 1_000.0, 4.0, "objects/s")
    assert "| 1MB | near |" in matrix.table_of([cell])
