"""Writes the help that the pages of Airflow's UI carry with them, from the documentation.

``help.html`` has the text of troubleshooting.md and of the failures in reference/reasons.md; ``reasons.js`` has the
meaning, the remedy and the place in ``help.html`` of each reason.

usage: python scripts/help_page.py [--write]
"""

import json
import re
import sys
from html import escape
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).resolve().parents[1]
STATIC: Final = ROOT / "plugins" / "s3_to_azure" / "web" / "static"
_ROW: Final = re.compile(r"^\| `failed` \| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
_ERROR_ROW: Final = re.compile(r"^\| `(\w+)` \| (.+?) \| (?:yes|no) \| \[`(\w+)`\]\([^)]*#(\w+)\) \|$", re.MULTILINE)
_SECTION: Final = re.compile(r"^###? `(\w+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
# Pages of the documentation are not in the package.
_PAGE_LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:|#)[^)]*\)")
_MAX_REMEDY: Final = 600
_HEAD: Final = """<!doctype html>
<!-- Made by scripts/help_page.py from the documentation. -->
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>S3 to Azure: what to do about failures</title>
    <link rel="stylesheet" href="help.css">
  </head>
  <body>
    <main>
<h1>What to do about failures</h1>
"""
_TAIL: Final = """    </main>
  </body>
</html>
"""


def files() -> dict[str, str]:
    """Return the files' texts by their names."""
    reasons = (ROOT / "docs/reference/reasons.md").read_text(encoding="utf-8")
    troubleshooting = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    failed = reasons.split("## Reasons of failed objects\n")[1].split("\n## ")[0]
    sections = dict(_SECTION.findall(troubleshooting))
    help_of: dict[str, tuple[str, str, str]] = {}
    for code, meaning, remedy in _ROW.findall(failed):
        help_of[code] = (_plain(meaning), _sentence(_plain(remedy)), code)
    for code, meaning, error, anchor in _ERROR_ROW.findall(failed):
        help_of[code] = (_plain(meaning), _remedy(sections[error]), anchor)
    return {"reasons.js": _script(help_of), "help.html": _page(troubleshooting, failed)}


def _script(help_of: dict[str, tuple[str, str, str]]) -> str:
    lines = [f"  {code}: {json.dumps(list(texts), ensure_ascii=False)}," for code, texts in sorted(help_of.items())]
    head = "// Made by scripts/help_page.py: meaning, remedy, and place in help.html of each reason."
    return "\n".join([head, "", "export const REASONS = {", *lines, "};", ""])


def _page(troubleshooting: str, failed: str) -> str:
    body = troubleshooting.split("\n", 1)[1]
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = renderer.render(_PAGE_LINK.sub(r"\1", body))
    html = re.sub(r"<h([23])>(.+?)</h\1>", _heading, html)
    own = "".join(
        f'<h3 id="{code}"><code>{code}</code></h3>\n<p>{escape(_sentence(_plain(meaning)))} '
        f"{escape(_sentence(_plain(remedy)))}</p>\n"
        for code, meaning, remedy in _ROW.findall(failed)
    )
    return f"{_HEAD}{html}<h2>Reasons that are no errors</h2>\n{own}{_TAIL}"


def _heading(found: re.Match[str]) -> str:
    anchor = re.sub(r"[^a-z0-9_]+", "-", re.sub(r"<[^>]+>", "", found[2]).lower()).strip("-")
    return f'<h{found[1]} id="{anchor}">{found[2]}</h{found[1]}>'


def _remedy(section: str) -> str:
    """Return the first paragraph that is no quotation; of a table that it introduces, the commonest cause."""
    paragraphs = [part.strip() for part in section.split("\n\n")]
    told = [part for part in paragraphs if part and not part.startswith(">")]
    text = _plain(told[0])
    if text.endswith(":"):
        text = _sentence(_plain(told[1].splitlines()[2].strip("| ").split(" | ")[1]))
    if len(text) <= _MAX_REMEDY:
        return text
    return text[: text.rindex(". ", 0, _MAX_REMEDY) + 1]


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[`*]", "", _PAGE_LINK.sub(r"\1", text)).split())


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for name, text in files().items():
            (STATIC / name).write_text(text, encoding="utf-8")
    else:
        sys.exit("usage: python scripts/help_page.py --write")
