"""Put tables and plots into docs/benchmarks.md, between their markers."""

import re
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.machine import sentence
from benchmarks.measure import DISTURBED_SHARE
from benchmarks.tables import Result

PLOTS: Final = Path(__file__).resolve().parents[1] / "docs/benchmarks"
_PAGE: Final = PLOTS.with_suffix(".md")


def publish(result: Result, table: str) -> None:
    """Put a scenario's table and plot into the page.

    Raises:
        SystemExit: Other processes took too much of the machine, or the page has no such markers.
    """
    shares = [run.cost.others_share for run in result.runs if run.cost and not run.is_start]
    if median(shares) > DISTURBED_SHARE:
        raise SystemExit(f"Other processes took {median(shares):.0%} of the machine: such a run is not published.")
    about = result.about
    others = f"other processes took {median(shares):.0%} of the machine (median of the runs), {max(shares):.0%} at most"
    plot = f"![{result.title}](benchmarks/{result.name}.svg)"
    put(result.name, "\n".join([plot, "", table, "", f"{sentence(about)}; {others}. `{about['command']}`"]))


def put(name: str, text: str) -> None:
    """Replace the text between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        SystemExit: The page has no such markers.
    """
    page = _PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page or end not in page:
        raise SystemExit(f"{_PAGE.name} has no markers {begin} and {end}")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    _PAGE.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page), encoding="utf-8")
