"""The documentation's pages and their fenced blocks, for tests."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE: Final = re.compile(r"^( *)(```+)(.*)\n((?:.*\n)*?)\1\2 *$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: Path below the project's root.
        line: Number of its first line.
        language: The word after the opening fence.
        text: The lines between the fences.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Return file and line, as editors open them."""
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    """Return a page's text; ``page`` is its path below the project's root."""
    return (ROOT / page).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", text)


def blocks(*languages: str) -> list[Block]:
    """Return the fenced blocks of all pages in these languages, or all blocks without an argument."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            language, line = match[3].strip(), text.count("\n", 0, match.start()) + 2
            if not languages or language in languages:
                found.append(Block(str(page.relative_to(ROOT)), line, language, match[4]))
    return found
