"""The tests mirror the package, and no folder and no module grows beyond what can be read."""

from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "plugins" / "s3_to_azure"
MOST_MODULES: Final = 18
MOST_LINES: Final = 450


def modules() -> list[str]:
    """Return the paths of the package's modules below it, without ``__init__``."""
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def place_of_tests(module: str) -> str:
    """Return where a module's tests stand, below the project's root."""
    path = Path(module)
    folder = path.parent.as_posix() if path.parent != Path() else "airflow"
    return f"tests/{folder}/test_{path.stem.strip('_')}.py"


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_test_module(module: str) -> None:
    """Whoever changes a module knows where its tests are."""
    file = ROOT / place_of_tests(module)
    assert file.is_file(), f"{module} has no {place_of_tests(module)}"
    assert "def test_" in file.read_text(encoding="utf-8")


def test_folders_stay_small() -> None:
    """A folder can be taken in at a glance."""
    folders = sorted({(PACKAGE / module).parent for module in modules()})
    counts = {
        folder.relative_to(PACKAGE.parent).as_posix(): sum(1 for path in folder.glob("*.py") if path.stem != "__init__")
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_modules_stay_readable() -> None:
    """A module is one subject that can be read in one go."""
    lengths = {module: len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) for module in modules()}
    assert {module: length for module, length in lengths.items() if length > MOST_LINES} == {}
