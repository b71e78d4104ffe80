"""Resolve the wheel with the versions that each managed service publishes: `make places`.

Nothing is installed. A file of `pins` holds those of a service's versions that this package or its dependencies use,
with their source and date.
"""

# ruff: noqa: T201 - a program, which prints what it found

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.airflow_matrix.run import PAGE, ROOT, UV, build

PINS: Final = Path(__file__).parent / "pins"
MARKS: Final = ("<!-- places -->", "<!-- end of places -->")
SHOWN: Final = ("apache-airflow-providers-amazon", "apache-airflow-providers-microsoft-azure", "boto3")


@dataclass(frozen=True, slots=True)
class Place:
    """A managed service's environment.

    Attributes:
        service: Its name.
        airflow: Airflow's version there.
        python: Python's version there.
    """

    service: str
    airflow: str
    python: str

    @property
    def name(self) -> str:
        """The place's name, which is its file's too."""
        return f"{self.service}-{self.airflow}"

    @property
    def file(self) -> Path:
        """The file of the service's versions."""
        return PINS / f"{self.name}.txt"

    @property
    def pins(self) -> dict[str, str]:
        """The version of each package."""
        return dict(re.findall(r"^([a-z\d-]+)==(\S+)$", self.file.read_text(encoding="utf-8"), re.MULTILINE))

    @property
    def dated(self) -> str:
        """The day of the list."""
        return self.file.read_text(encoding="utf-8").partition("# Dated: ")[2][:10]


PLACES: Final = (
    Place("MWAA", "2.11.0", "3.12"),
    Place("MWAA", "2.11.2", "3.12"),
    Place("MWAA", "3.0.6", "3.12"),
    Place("MWAA", "3.2.1", "3.12"),
    Place("MWAA", "3.3.1", "3.12"),
    Place("Composer", "3.1.7", "3.11"),
    Place("Composer", "3.3.1", "3.11"),
    Place("Fabric", "2.10.5", "3.12"),
)


def main() -> int:
    """Resolve every place; return the exit status."""
    parser = argparse.ArgumentParser(prog="make places")
    parser.add_argument("--write", action="store_true", help="write the table into docs/compatibility.md")
    given = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="places-") as folder:
        wheel = build(Path(folder))
        for place in PLACES:
            results[place.name], why = resolve(place, wheel)
            print(f"{place.name}: {why or 'resolved'}", flush=True)
    print(table(results))
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        begin, end = (page.index(mark) for mark in MARKS)
        PAGE.write_text(f"{page[:begin]}{MARKS[0]}\n{table(results)}\n{page[end:]}", encoding="utf-8")
    return 0 if all(results.values()) else 1


def resolve(place: Place, wheel: Path) -> tuple[dict[str, str], str]:
    """Return the versions that would be installed, none if there is no solution, and what the resolver then says."""
    with tempfile.TemporaryDirectory(prefix="place-") as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in place.pins.items()))
        done = subprocess.run(
            [
                *(UV, "--no-config", "pip", "install", "--dry-run", "--no-progress", "--color", "never"),
                *("--python-version", place.python, "--target", Path(folder, "target")),
                *("--constraint", constraints, f"apache-airflow=={place.airflow}", f"{wheel}[airflow]"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        return {}, done.stderr.strip()
    return dict(re.findall(r"^ \+ (\S+?)==(\S+)", done.stderr, re.MULTILINE)), ""


def table(results: Mapping[str, Mapping[str, str]]) -> str:
    """Return the places that were resolved as a Markdown table."""
    lines = ["| service | Airflow | Python | amazon | azure | boto3 | resolves | its versions of |", "|" + "---|" * 8]
    for place in PLACES:
        if place.name in results:
            versions = results[place.name]
            answer = "yes" if versions else "**no**"
            shown = [versions.get(package, "") for package in SHOWN]
            lines.append(f"| {' | '.join((place.service, place.airflow, place.python, *shown, answer, place.dated))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
