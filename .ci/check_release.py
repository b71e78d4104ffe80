"""Check that a tag names this release: `check_release.py TAG`.

The tag is `v` and the package's version, and the changelog's first section is this version's, with its date.
"""

# ruff: noqa: INP001 - a script

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def problems(tag: str, package: str, changelog: str) -> list[str]:
    """Return what is wrong, a sentence each; ``package`` and ``changelog`` are the files' texts."""
    found = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    version = found[1] if found else ""
    wrong = []
    if tag != f"v{version}":
        wrong.append(f"The tag is {tag!r}, the package's version is {version!r}: the tag must be 'v{version}'.")
    title = next(iter(re.findall(r"^## .*", changelog, re.MULTILINE)), "")
    if not re.fullmatch(rf"## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", title):
        wrong.append(f"CHANGELOG.md begins with {title!r}, not with '## [{version}] - <year>-<month>-<day>'.")
    return wrong


def main(tag: str) -> int:
    """Print what is wrong; return the exit status."""
    package = (ROOT / "plugins/s3_to_azure/__init__.py").read_text(encoding="utf-8")
    wrong = problems(tag, package, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    print("\n".join(wrong) or f"{tag} can be released.", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
