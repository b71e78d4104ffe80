"""Prints how many mutants there are, how many were tried, and how many of those a test noticed, as a table.

It reads what mutmut has written so far, so it can be called while mutants are being tried.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

_WRITTEN: Final = Path(__file__).resolve().parents[2] / "build/mutation/mutants/src/s3_to_azure"
# mutmut's exit codes: 0 and 5 if all tests passed or none ran, 33 if no test reaches the function, 2 and 34 if it was
# not tried.
_LIVES: Final = (0, 5, 33)
_NOT_TRIED: Final = (None, 2, 34)


def table(written: Path) -> list[str]:
    """Return the lines of the table: one for each module, the sums of the packages, and the sum of all."""
    rows: dict[str, tuple[int, int, int]] = {}
    sums: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for path in sorted(written.rglob("*.py.meta")):
        codes = json.loads(path.read_text("utf-8"))["exit_code_by_key"].values()
        tried = [code for code in codes if code not in _NOT_TRIED]
        row = len(codes), len(tried), sum(code not in _LIVES for code in tried)
        if row[0]:
            module = path.relative_to(written)
            rows[f"`{module.as_posix().removesuffix('.meta')}`"] = row
            sums[module.parts[0]].append(row)
    of_packages = {name: _sum(of_modules) for name, of_modules in sums.items()}
    all_rows = rows | {f"all of {name}": row for name, row in of_packages.items()}
    all_rows["all"] = _sum(list(of_packages.values()))
    lines = [f"| {name} | {made:,} | {tried:,} | {noticed:,} |" for name, (made, tried, noticed) in all_rows.items()]
    return ["| module | mutants | tried | noticed |", "|---|---|---|---|", *lines]


def _sum(rows: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    made, tried, noticed = (sum(column) for column in zip(*rows, strict=True)) if rows else (0, 0, 0)
    return made, tried, noticed


if __name__ == "__main__":
    sys.stdout.write("\n".join(table(_WRITTEN)) + "\n")
