"""The benchmarks follow the names of the code that they measure, and start as the pages say."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.programs.cpu_profile import WRAPPED

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
    ],
    ids=lambda command: command[-1],
)
def test_benchmarks_start(command: list[str]) -> None:
    """Their imports are found from the project's folder."""
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
