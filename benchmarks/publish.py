"""Put a scenario's table and plot into docs/benchmarks.md, between its markers."""

import re
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measure import DISTURBED_SHARE
from benchmarks.tables import Result

PLOTS: Final = Path(__file__).resolve().parents[1] / "docs/benchmarks"
_PAGE: Final = PLOTS.with_suffix(".md")


def publish(result: Result, table: str) -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        SystemExit: Others took too much of the machine, or the page has no such markers.
    """
    page = _PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {result.name} -->", f"<!-- /{result.name} -->"
    if begin not in page or end not in page:
        raise SystemExit(f"{_PAGE.name} has no place {begin} ... {end}")
    shares = [run.cost.others_share for run in result.runs if run.cost and not run.is_start]
    if median(shares) > DISTURBED_SHARE:
        raise SystemExit(f"Others took {median(shares):.0%} of the machine: nothing is published from such a run.")
    about = result.about
    machine = f"{about['date']}, {about['cpu']}, Linux {about['kernel']}, Python {about['python']}"
    others = f"other processes took {median(shares):.0%} of the machine (median of the runs), {max(shares):.0%} at most"
    plot = f"![{result.title}](benchmarks/{result.name}.svg)"
    text = "\n".join([begin, plot, "", table, "", f"{machine}; {others}. `{about['command']}`", end])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    _PAGE.write_text(pattern.sub(lambda _: text, page), encoding="utf-8")
