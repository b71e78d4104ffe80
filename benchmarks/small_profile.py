"""Where the CPU of small objects goes: the command line over many objects of 10 KB, step by step.

usage: python -m benchmarks.small_profile [--objects N] [--runs N] [--publish]
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
from benchmarks.rig import BUCKET, CONTAINER, PLAIN, Family, rig

_PROGRAM: Final = Path(__file__).parent / "programs/small_profile.py"
_SIZE_BYTES: Final = 10_000


def main() -> None:
    """Measure, print the table, and put it into the page where that is asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=20_000, help="how many (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="whose medians are told (default: %(default)s)")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    family = Family("profiled", _SIZE_BYTES, options.objects)
    runs: list[dict[str, list[float]]] = []
    with rig(PLAIN, [family]) as servers:
        for _ in range(options.runs):
            servers.reset()
            command = [sys.executable, _PROGRAM, f"s3://{BUCKET}/{family.prefix}/", f"az://{CONTAINER}/profiled/"]
            environment = {**os.environ, **servers.environment(), "PYTHONPATH": str(ROOT / "plugins")}
            ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            if servers.sink_counts()["put_blob"] != options.objects:
                raise SystemExit("not all objects arrived")
            runs.append(json.loads(ended.stdout))
    text = table(runs, options.objects)
    print(text)
    if options.publish:
        made = about("benchmarks.small_profile")
        told = f"{sentence(made)}; {options.objects:,} objects, medians of {options.runs} runs. `{made['command']}`"
        put("small-profile", f"{text}\n\n{told}")


def table(runs: list[dict[str, list[float]]], objects: int) -> str:
    """Return the steps and their CPU in microseconds an object."""

    def us(step: str) -> float:
        return median(run[step][1] for run in runs) / objects * 1e6

    own = us("begin") + us("libcurl") + us("answers") + us("prove")
    others = us("process") - us("listing") - us("plan") - us("lane")
    rows = [
        ("listing S3", us("listing")),
        ("reading the destination's listing, deciding, writing the plan", us("plan")),
        ("beginning the GET: signature, headers, handing it to libcurl", us("begin")),
        ("libcurl and the kernel, without Python's lock but for each line of an answer", us("libcurl")),
        ("reading the answers: version, checksums, headers", us("answers")),
        ("comparing the checksum, beginning the Put Blob: metadata, headers, condition", us("prove")),
        ("the rest of the lane: the plan's lines, receipts, budget, level", us("lane") - own),
        ("start, counting and printing receipts, other threads", others),
        ("all", us("process")),
    ]
    lines = ["| step | CPU us an object |", "| --- | ---: |"]
    lines += [f"| {name} | {value:.0f} |" for name, value in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
