"""Measure all contenders side by side, and write tables, JSON and plots.

usage: python -m benchmarks.run [--scenario NAME …] [--runs N] [--only NAME …] [--publish]
       python -m benchmarks.run --scenario matrix [--sizes SIZE,…] [--places PLACE,…] [--runs N] [--publish]
"""

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import matrix
from benchmarks.machine import about
from benchmarks.plots import bars, growth
from benchmarks.publish import PLOTS, publish
from benchmarks.rig import rig
from benchmarks.rounds import one_run, undisturbed_run
from benchmarks.scenarios import SCENARIOS, TINY, Scenario
from benchmarks.tables import Result, Run, summary, table

_OUT: Final = Path(__file__).resolve().parents[1] / "build/benchmarks"
_START_ROUNDS: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; return 1 if a contender failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--scenario",
        action="append",
        choices=sorted((*SCENARIOS, matrix.NAME)),
        help="a scenario to run; repeatable (default: all but the matrix)",
    )
    matrix.add_options(parser)
    parser.add_argument("--runs", type=int, default=5, help="rounds of interleaved runs (default: %(default)s)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only contenders whose name starts so; repeatable"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60,
        help="seconds to wait at most for a quiet machine before a run (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=_OUT, help="directory of JSON and plots (default: build/benchmarks)"
    )
    parser.add_argument("--publish", action="store_true", help="put tables and plots into docs/benchmarks.md instead")
    options = parser.parse_args(arguments)
    # A normal exit stops the servers and removes gigabytes of objects from tmpfs.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if options.publish:
        options.out = PLOTS
    options.out.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in options.scenario or SCENARIOS:
        measured = matrix.measure(options) if name == matrix.NAME else _measure(SCENARIOS[name], options)
        failed |= not measured
    return int(failed)


def _measure(scenario: Scenario, options: argparse.Namespace) -> bool:
    contenders = [
        contender
        for contender in scenario.contenders
        if not options.only or any(contender.name.startswith(start) for start in options.only)
    ]
    families = {contender.family or scenario.family for contender in contenders} | {TINY}
    starts = _START_ROUNDS if scenario.unit != "growth" else 0
    print(f"\n{scenario.title}\n", flush=True)
    runs: list[Run] = []
    with rig(scenario.climate, sorted(families, key=lambda family: family.prefix)) as servers:
        for number in range(options.runs):
            for contender in contenders:
                if number < starts:
                    runs.append(one_run(servers, contender, TINY, number, options.wait, is_start=True))
                if contender.rounds is None or number < contender.rounds:
                    family = contender.family or scenario.family
                    runs.append(undisturbed_run(servers, contender, family, number, options.wait))
    result = Result(
        name=scenario.name,
        title=scenario.title,
        unit=scenario.unit,
        reference=scenario.reference,
        limit=scenario.limit,
        baseline=scenario.baseline,
        runs=runs,
        settings={contender.name: contender.settings for contender in contenders},
        models={contender.name: contender.model_mb_s for contender in contenders if contender.model_mb_s},
        about=about("benchmarks.run"),
    )
    text = table(result)
    print(f"\n{text}\n", flush=True)
    stem = options.out / scenario.name
    document = dataclasses.asdict(result) | {"summary": summary(result)}
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    plot = growth if scenario.unit == "growth" else bars
    stem.with_suffix(".svg").write_text(plot(result), encoding="utf-8")
    if options.publish:
        publish(result, text)
    return all(item.cost is not None for item in runs)


if __name__ == "__main__":
    sys.exit(main())
