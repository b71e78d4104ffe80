"""Mutants made by hand: each breaks one promise, and a test of ours must notice it.

``make mutants MUTANTS_ARGS=by-hand`` makes each of them in a copy of the project, one at a time, runs its tests, and
fails if any mutant lives. More words choose the mutants whose file or sentence contains one of them.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = Path("plugins/s3_to_azure")
_COPIED: Final = ("plugins", "tests", "benchmarks", "local_cloud", "demo", "scripts", "docs", "pyproject.toml")
_LIMIT_S: Final = 600
_PYTEST: Final = ("-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "--timeout", "60")


@dataclass(frozen=True)
class Mutant:
    """A small change of the code.

    Attributes:
        file: The module, below the package.
        breaks: What is wrong with the changed code.
        old: The text to replace; it occurs once in the module.
        new: The text that replaces it.
        tests: The tests of which one must fail.
    """

    file: str
    breaks: str
    old: str
    new: str
    tests: tuple[str, ...]

    def of(self, text: str) -> str:
        """Return the module's changed text."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: the old text of {self.breaks!r} occurs {text.count(self.old)} times.")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """Return all mutants, in the order of the list."""
    listed = tomllib.loads((Path(__file__).parent / "by_hand.toml").read_text("utf-8"))["mutant"]
    return [Mutant(**(one | {"tests": tuple(one["tests"])})) for one in listed]


def lives(mutant: Mutant, copy: Path) -> bool:
    """Make the change in a copy of the project; return whether its tests pass all the same."""
    module = copy / PACKAGE / mutant.file
    text = module.read_text("utf-8")
    module.write_text(mutant.of(text), "utf-8")
    command = [str(ROOT / ".venv/bin/python"), "-m", "pytest", *_PYTEST, "-m", "not slow and not soak", *mutant.tests]
    variables = os.environ | {"PYTHONPATH": f"{copy / 'plugins'}:{copy}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(command, cwd=copy, env=variables, capture_output=True, check=False, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        module.write_text(text, "utf-8")
    return ended.returncode == 0


def copied() -> Path:
    """Return a new copy of what the tests need."""
    copy = ROOT / "build" / "by_hand"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    unwanted = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def main(words: list[str]) -> int:
    """Make the mutants; return the exit code."""
    chosen = [one for one in mutants() if not words or any(word in f"{one.file} {one.breaks}" for word in words)]
    copy, living = copied(), 0
    for mutant in chosen:
        still = lives(mutant, copy)
        living += still
        sys.stdout.write(f"{'LIVES  ' if still else 'noticed'} {mutant.file}: {mutant.breaks}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutants, {living} of them live\n")
    return 1 if living or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
