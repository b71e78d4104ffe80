"""docs/structure.md shows the package as it is, and the script that prints it counts correctly."""

from pathlib import Path

import pytest

from scripts.structure import PAGE, levels, main, modules, page, report


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package of three modules, two of them in a folder."""
    root = tmp_path / "structure"
    files = {
        "__init__.py": "",
        "top.py": "from structure.rooms.upper import walk\n\n\ndef go():\n    walk()\n",
        "rooms/__init__.py": "",
        "rooms/lower.py": "X = 1\n",
        "rooms/upper.py": "class A:\n  def walk(self):\n    from structure.rooms import lower\n    return lower.X\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_the_page_shows_the_package_as_it_is() -> None:
    """Whoever changes the structure refreshes the page."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, report(modules())) == text, "make structure STRUCTURE_ARGS=--write refreshes docs/structure.md"


def test_levels_follow_imports_also_those_inside_functions(package: Path) -> None:
    """A module stands one above the highest module that it imports."""
    assert levels(modules(package)) == {"rooms.lower": 1, "rooms.upper": 2, "top": 3}


def test_functions_are_measured_with_their_class(package: Path) -> None:
    """A method is named with its class; the first and the last line count."""
    found = modules(package)
    assert found["rooms.upper"].functions == {"A.walk": 3}
    assert found["rooms.upper"].folder == "rooms"
    assert found["top"].functions == {"go": 2}


def test_report_counts_folders(package: Path) -> None:
    """Each folder has its row, with the span of its levels."""
    lines = report(modules(package)).splitlines()
    assert lines[0] == "3 modules on 3 import levels."
    assert "| `rooms` | 2 | 1 to 2 |" in lines
    assert "| `.` | 1 | 3 |" in lines
    assert "| `rooms/upper.py: A.walk` | 10 |" in lines


def test_a_circle_is_refused(package: Path) -> None:
    """A circle has no levels, and the message names it."""
    (package / "rooms/lower.py").write_text("from structure import top\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rooms\.lower -> top -> rooms\.upper -> rooms\.lower"):
        levels(modules(package))


def test_a_page_without_markers_is_refused() -> None:
    """The page's place for the output must not get lost."""
    with pytest.raises(ValueError, match="no place"):
        page("# Package structure\n", "")


def test_other_arguments_print_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped option writes nothing."""
    assert main(["--wirte"]) == 2
    assert "usage: python scripts/structure.py" in capsys.readouterr().out
