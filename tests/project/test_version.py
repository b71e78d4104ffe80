"""The version is written once, in the package; what must repeat it is held to it here."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

from s3_to_azure import __version__

ROOT: Final = Path(__file__).resolve().parents[2]
# What cannot read the package, and why.
_REPEATS: Final = {
    "CHANGELOG.md": "its section",
    "deploy/kubernetes-values.yaml": "the image's tag, which Helm reads",
    "docs/kubernetes.md": "the command that makes an image of that tag",
    "plugins/s3_to_azure/__init__.py": "the source",
}


def test_the_build_reads_it_from_the_package() -> None:
    """pyproject.toml repeats no version: Hatch takes the package's."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "plugins/s3_to_azure/__init__.py"


def test_no_other_file_repeats_it() -> None:
    """The repeats are those that are named above, and each of them says this version."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    version = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.]*\d)")
    # The locks hold other packages' versions, Markdown and JSON of the benchmarks measured figures.
    others = re.compile(r"(^|/)requirements.*\.txt$|package-lock\.json$|^docs/benchmarks")
    found = set()
    for name in listed.split("\0"):
        path = ROOT / name
        if path.is_file() and not others.search(name) and path.suffix not in {".png", ".svg"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            if version.search(text):
                found.add(name)
    assert found == set(_REPEATS)


def test_the_changelog_has_its_section_first() -> None:
    """Whoever upgrades finds this version's changes at the top."""
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[0] == __version__
