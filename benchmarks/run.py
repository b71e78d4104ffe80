"""Measure all contenders side by side, and write tables, JSON and plots.

usage: python -m benchmarks.run [--scenario NAME …] [--runs N] [--only NAME …] [--publish]
"""

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.contenders import Contender
from benchmarks.machine import about
from benchmarks.measure import DISTURBED_SHARE, ContenderFailed, Cost, run, wait_until_quiet
from benchmarks.plots import bars, growth
from benchmarks.publish import PLOTS, publish
from benchmarks.rig import Family, Rig, rig
from benchmarks.scenarios import SCENARIOS, TINY, Scenario
from benchmarks.tables import Result, Run, summary, table

_OUT: Final = Path(__file__).resolve().parents[1] / "build/benchmarks"
_START_ROUNDS: Final = 3
_MAX_TRIES: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; return 1 if a contender failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--scenario", action="append", choices=sorted(SCENARIOS), help="a scenario to run; repeatable (default: all)"
    )
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
        failed |= not _measure(SCENARIOS[name], options)
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
                    runs.append(_one(servers, contender, TINY, number, options.wait, is_start=True))
                if contender.rounds is None or number < contender.rounds:
                    family = contender.family or scenario.family
                    runs.append(_undisturbed(servers, contender, family, number, options.wait))
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


def _undisturbed(servers: Rig, contender: Contender, family: Family, number: int, wait_s: float) -> Run:
    """Repeat a run that other processes disturbed; return the least disturbed one."""
    tries: list[Run] = []
    while len(tries) < _MAX_TRIES:
        tries.append(_one(servers, contender, family, number, wait_s, is_start=False))
        if tries[-1].cost is None or tries[-1].cost.others_share < DISTURBED_SHARE:
            return tries[-1]
    return min(tries, key=lambda run: run.cost.others_share if run.cost else 1)


def _one(servers: Rig, contender: Contender, family: Family, number: int, wait_s: float, *, is_start: bool) -> Run:
    wait_until_quiet(wait_s)
    servers.reset()
    gets = servers.source_requests()
    cost: Cost | None = None
    try:
        cost = run(
            contender.command(servers, family),
            environment={**servers.environment(), **contender.environment},
            rig_directory=servers.directory,
        )
    except ContenderFailed as error:
        print(error, file=sys.stderr)
    counts = servers.sink_counts()
    size_bytes = family.size_bytes * family.count
    arrived = counts["put_blob"] + counts["put_block_list"]
    if cost is not None and (counts["bytes"] < size_bytes or arrived < family.count):
        print(f"{contender.name}: only {arrived} blobs with {counts['bytes']} bytes arrived", file=sys.stderr)
        cost = None
    item = Run(
        contender=contender.name,
        round=number,
        is_start=is_start,
        size_bytes=size_bytes,
        objects=family.count,
        cost=cost,
        # The request for the count is counted too.
        source_requests=servers.source_requests() - gets - 1,
        sink_requests={kind: count for kind, count in counts.items() if kind != "bytes" and count},
    )
    if cost and not is_start:
        print(
            f"  round {number + 1}  {contender.name:24} {cost.wall_s:7.2f} s  {cost.cpu_s:7.2f} s CPU  "
            f"{cost.peak_rss_bytes / 2**20:6.0f} MiB  (other processes took {cost.others_share:.0%} of the machine)",
            flush=True,
        )
    return item


if __name__ == "__main__":
    sys.exit(main())
