"""The score counts what mutmut has written."""

import json
from pathlib import Path

from tests.mutation.score import table


def test_mutants_are_counted_by_module_and_package(tmp_path: Path) -> None:
    """A mutant that no test reaches lives, one that hangs is noticed, and one that was not tried is neither."""
    codes: dict[str, list[int | None]] = {
        "model/decide.py": [1, 1, 0, None],
        "state/plan.py": [33, 36],
        "state/lines.py": [3],
        "state/x.py": [],
        "state/deep/y.py": [0, 1],
    }
    for name, listed in codes.items():
        path = tmp_path / f"{name}.meta"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"exit_code_by_key": {f"m{n}": code for n, code in enumerate(listed)}}))
    assert table(tmp_path)[2:] == [
        "| `model/decide.py` | 4 | 3 | 2 |",
        "| `state/deep/y.py` | 2 | 2 | 1 |",
        "| `state/lines.py` | 1 | 1 | 1 |",
        "| `state/plan.py` | 2 | 2 | 1 |",
        "| all of model | 4 | 3 | 2 |",
        "| all of state | 5 | 5 | 3 |",
        "| all | 9 | 8 | 5 |",
    ]
