"""CPU time of the command line by step, for many objects of 10 KB, many of 1 MB, and one large object.

usage: python -m benchmarks.cpu_profile [--objects N] [--medium N] [--gib N] [--runs N] [--publish]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.contenders import ROOT
from benchmarks.machine import about, sentence
from benchmarks.publish import put
from benchmarks.rig import BUCKET, CONTAINER, PLAIN, Family, Rig, rig

Steps = dict[str, list[float]]

_PROGRAM: Final = Path(__file__).parent / "programs/cpu_profile.py"
_SMALL_BYTES: Final = 10_000
_MEDIUM_BYTES: Final = 1_000_000
_GIB: Final = 1024**3


def main() -> None:
    """Measure, print the tables, and with --publish put them into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu_profile", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--objects", metavar="N", type=int, default=20_000, help="number of objects of 10 KB (default: %(default)s)"
    )
    parser.add_argument(
        "--medium", metavar="N", type=int, default=2_000, help="number of objects of 1 MB (default: %(default)s)"
    )
    parser.add_argument(
        "--gib", metavar="N", type=int, default=4, help="size of the large object (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", metavar="N", type=int, default=3, help="runs, whose medians are printed (default: %(default)s)"
    )
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    small = Family("small", _SMALL_BYTES, options.objects)
    medium = Family("medium", _MEDIUM_BYTES, options.medium)
    large = Family("large", options.gib * _GIB, sparse=True)
    tables = {}
    with rig(PLAIN, [small, medium, large]) as servers:
        for family in (small, medium):
            runs = [_run(servers, "small", family) for _ in range(options.runs)]
            text = small_table(runs, family.count)
            tables[f"{family.prefix}-profile"] = (text, f"{family.count:,} objects of {family.size_bytes:,} bytes")
        runs = [_run(servers, "large", large) for _ in range(options.runs)]
        tables["large-profile"] = (large_table(runs, options.gib), f"one object of {options.gib} GiB")
    measured = about("benchmarks.cpu_profile")
    for name, (text, description) in tables.items():
        print(f"\n{text}")
        if options.publish:
            note = f"{sentence(measured)}; {description}, medians of {options.runs} runs. `{measured['command']}`"
            put(name, f"{text}\n\n{note}")


def _run(servers: Rig, kind: str, family: Family) -> Steps:
    servers.reset()
    source = f"{family.prefix}/" if family.count > 1 else next(family.keys())
    addresses = [f"s3://{BUCKET}/{source}", f"az://{CONTAINER}/profiled{'/' if family.count > 1 else ''}"]
    environment = {**os.environ, **servers.environment(), "PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run(
        [sys.executable, _PROGRAM, kind, *addresses], env=environment, stdout=subprocess.PIPE, check=True
    )
    if servers.sink_counts()["bytes"] < family.size_bytes * family.count:
        raise SystemExit("Azure received fewer bytes than were to be copied.")
    steps: Steps = json.loads(done.stdout)
    return steps


def small_table(runs: list[Steps], objects: int) -> str:
    """Return the CPU time of each step in microseconds per object."""

    def us(step: str) -> float:
        return median(run[step][1] for run in runs) / objects * 1e6

    own = us("begin") + us("sockets") + us("verify")
    others = us("process") - us("listing") - us("plan") - us("client")
    rows = [
        ("listing S3", us("listing")),
        ("reading the destination's listing, deciding, writing the plan", us("plan")),
        ("starting the GET: signature, headers, sending it", us("begin")),
        ("receiving the responses, sending the rest of the bodies: mostly the kernel", us("sockets") - us("answers")),
        ("reading the responses: version, checksums, headers", us("answers")),
        ("comparing the checksum, starting the Put Blob: metadata, headers, condition, sending it", us("verify")),
        ("the rest of the client: the plan's lines, receipts, budget, level", us("client") - own),
        ("opening the stores, counting and printing receipts, other threads", others),
        ("all", us("process")),
    ]
    return _table("CPU us per object", rows)


def large_table(runs: list[Steps], gib: int) -> str:
    """Return the CPU time of each step in milliseconds per GiB."""

    def ms(step: str) -> float:
        return median(run[step][1] for run in runs) / gib * 1e3

    own = ms("ask") + ms("receive") + ms("checksum") + ms("sign") + ms("send")
    rows = [
        ("requesting a block from S3 and reading the response headers", ms("ask")),
        ("receiving: mostly copying by the kernel", ms("receive")),
        ("CRC64 of each block", ms("checksum")),
        ("signing GET and Put Block", ms("sign")),
        ("sending Put Block and reading its response: mostly copying by the kernel", ms("send")),
        ("the rest of a block: workers, request limits, retries, checks of the responses, counts", ms("stage") - own),
        ("opening the stores, commit, receipt, other threads", ms("process") - ms("stage")),
        ("all", ms("process")),
    ]
    return _table("CPU ms per GiB", rows)


def _table(unit: str, rows: list[tuple[str, float]]) -> str:
    return "\n".join([f"| step | {unit} |", "| --- | ---: |", *(f"| {name} | {value:.0f} |" for name, value in rows)])


if __name__ == "__main__":
    main()
