"""The pages for developers name files and functions that exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "plugins" / "s3_to_azure"
PAGES: Final = ("CONTRIBUTING.md", "docs/design.md", "docs/fidelity.md", "docs/scale.md")
_PATH: Final = r"[\w./-]+/[\w.-]+\.(?:py|toml|yaml)|\w+\.(?:py|toml)"
_FILE: Final = re.compile(rf"`({_PATH})(?:: (\w+))?`((?:, `\w+`)*)")
_NAME_IN_FILE: Final = re.compile(rf"`(\w+)`\s+(?:of|in)\s+`({_PATH})`")


def named(page: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each file that a page names, with the functions or classes that it names in that file."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for path, name, more in _FILE.findall(text):
        yield path, tuple(filter(None, (name, *(re.findall(r"`(\w+)`", more) if name else ()))))
    for name, path in _NAME_IN_FILE.findall(text):
        yield path, (name,)


@pytest.mark.parametrize("page", PAGES)
def test_named_files_and_functions_exist(page: str) -> None:
    """A path is below the package or the checkout; ``path: name`` and "``name`` in ``path``" are defined there."""
    found = list(named(page))
    assert found
    for path, names in found:
        files = [root / path for root in (PACKAGE, ROOT) if (root / path).is_file()]
        assert files, f"{page} names {path}"
        text = files[0].read_text(encoding="utf-8")
        for name in names:
            assert re.search(rf"^ *(?:def|class) {name}\b|^{name}\b", text, re.MULTILINE), (
                f"{page} names {path}: {name}"
            )


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/design.md"])
def test_every_folder_is_explained(page: str) -> None:
    """A new folder of the package gets its line in the table of layers."""
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()]
    assert folders
    assert [folder for folder in folders if not re.search(rf"\b{folder}\b", text)] == []


def test_paths_and_names_are_read() -> None:
    """The patterns read a path alone, with a name, with several, and with a name before it."""
    page = "`a/b.py` `c.py: x`, `y` and `z`"
    assert [(match[0], match[1], match[2]) for match in _FILE.findall(page)] == [
        ("a/b.py", "", ""),
        ("c.py", "x", ", `y`"),
    ]
    assert _NAME_IN_FILE.findall("`X` of `a/b.py`, `y`\nin `c.py`, `z` and `d.py`") == [("X", "a/b.py"), ("y", "c.py")]
