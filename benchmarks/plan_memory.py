# ruff: noqa: E402 - the path comes first
"""Memory and time of listing, plan and report at two sizes: it must not matter how many objects there are.

    .venv/bin/python benchmarks/plan_memory.py [--objects 20000 200000] [--real]

Each step runs in a process of its own, as in Airflow. The lister and the destination are fakes at the stores' ports
(half of the objects are in the destination already); the state files are real, in a temporary directory. With --real
the objects are real too, in LocalStack, and are copied to Azurite; a second night follows. Exits 1 where a step's peak
at the larger size is more than 30 % above that at the smaller one, or where the second night sends anything.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from benchmarks.local_state import LocalState
from s3_to_azure.model.objects import BlobState, ListedObject, Receipt
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.state.plan import (
    BatchDescriptor,
    read_plan_index,
)
from s3_to_azure.state.receipts import ReceiptWriter

BUCKET: Final = "benchmark"
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALLOWED: Final = 1.30
STEPS: Final = ("list", "plan", "copy", "report")
AGAIN: Final = ("list again", "plan again", "report again")
SETTINGS: Final = PlanSettings(s3_prefix="", blob_prefix="")
# Tells the steps' processes where the real servers are.
REAL: Final = "PLAN_MEMORY_REAL"


def listing(count: int) -> Iterator[ListedObject]:
    """Yield so many objects as S3 would list them: keys of 60 characters, 1 KB to 1 MB."""
    for number in range(count):
        yield ListedObject(
            BUCKET,
            f"warehouse/events/2026/03/{number // 5_000:05}/part-{number:012}.parquet",
            f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}",
            1_000 + number * 7_919 % 1_000_000,
            NOON,
        )


class Destination:
    """Lists a copy of every second object, and has nothing staged."""

    container = "benchmark"

    def __init__(self, count: int) -> None:
        """Keep the count."""
        self._count = count

    def list(self, _prefix: str) -> Iterator[BlobState]:
        """Yield the blobs."""
        for number, listed in enumerate(listing(self._count)):
            if number % 2:
                metadata = {"s3_etag": listed.etag, "s3_last_modified": NOON.isoformat(), "s3_verified_by": "crc64nvme"}
                yield BlobState(listed.key, f"0x8D{number:013X}", listed.size_bytes, "BlockBlob", metadata)

    def __getattr__(self, name: str) -> object:
        """Refuse all else: a plan of small objects asks for nothing more."""
        raise AssertionError(f"the plan called {name}")


def run_step(step: str, count: int, directory: Path) -> dict[str, Any]:
    """Run one step; return what it made."""
    if REAL in os.environ:
        return run_real_step(step, count, directory)
    files = LocalState(directory)
    told = directory / "pointer.json"
    if step == "list":
        return listed(listing(count), files, told, prefix="")
    pointer = ManifestPointer.from_dict(json.loads(told.read_text()))
    if step == "plan":
        return planned(make_plan(files, pointer, Destination(count), SETTINGS))
    if step == "copy":
        index = read_plan_index(files)
        assert index is not None
        for batch in index.batches:
            write_receipts(files, batch)
        return {}
    return reported(make_report(files, pointer))


def run_real_step(step: str, count: int, directory: Path) -> dict[str, Any]:
    """Run one step over real objects; those of the second night keep their state beside the first's."""
    from real_bucket import RealPlaces  # noqa: PLC0415 - it brings the SDKs, which the fakes do without

    places = RealPlaces.of(os.environ[REAL])
    files = LocalState(directory / ("second" if step in AGAIN else "first"))
    told = directory / ("second.json" if step in AGAIN else "first.json")
    prefix = f"{count}/"
    act = step.partition(" ")[0]
    if act == "list":
        return listed(places.source().list(BUCKET, prefix), files, told, prefix=prefix)
    pointer = ManifestPointer.from_dict(json.loads(told.read_text()))
    if act == "plan":
        settings = PlanSettings(s3_prefix=prefix, blob_prefix=prefix)
        return planned(make_plan(files, pointer, places.destination(), settings))
    if act == "copy":
        index = read_plan_index(files)
        assert index is not None
        with places.transfer_context() as context:
            for batch in index.batches:
                copy_batch(context, files, batch, bucket=BUCKET, s3_prefix=prefix, blob_prefix=prefix, try_number=1)
            totals = context.progress.snapshot()
        return {"objects": totals.objects_done, "bytes_sent": totals.bytes_sent}
    return reported(make_report(files, pointer))


def listed(objects: Iterator[ListedObject], files: LocalState, told: Path, *, prefix: str) -> dict[str, Any]:
    """Write the manifest, and its pointer for the steps that follow."""
    pointer = write_manifest(objects, files, bucket=BUCKET, prefix=prefix)
    told.write_text(json.dumps(pointer.as_dict()))
    return {"objects": pointer.objects, "state_bytes": pointer.length}


def planned(plan: Plan) -> dict[str, Any]:
    """Return what a plan says."""
    counts = {"batches": len(plan.batches), "copy": plan.copy.objects, "unchanged": plan.unchanged.objects}
    return counts | plan.summary()["requests"]["planning"]


def reported(report: Report) -> dict[str, Any]:
    """Return what a report says."""
    assert report.error() is None
    counts = {status: report.total(status).objects for status in ("copied", "unchanged")}
    return counts | {"bytes_sent": report.bytes_sent}


def write_receipts(files: LocalState, batch: BatchDescriptor) -> None:
    """Write the receipts of a batch that copied all."""
    entries = BatchSlice(files, batch, bucket=BUCKET, s3_prefix="", blob_prefix="").entries()
    with ReceiptWriter(files, batch, 1) as receipts:
        for entry in entries:
            listed = entry.listed
            receipts.add(
                Receipt(
                    bucket=BUCKET,
                    key=listed.key,
                    etag=listed.etag,
                    size_bytes=listed.size_bytes,
                    container="benchmark",
                    blob=listed.key,
                    status="copied",
                    verified_by="crc64nvme",
                    checksum="crc64nvme:AAAAAAAAAAA=",
                    blocks=1,
                    bytes_sent=listed.size_bytes,
                    seconds=0.05,
                    started_at=NOON.isoformat(),
                )
            )


def peak_kib() -> int:
    """Return the most memory that this process held; getrusage would count its parent's too, from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def measured(step: str, count: int, directory: Path) -> dict[str, Any]:
    """Run one step in a process of its own; return what it made, its peak memory and its time."""
    command = [sys.executable, __file__, "--step", step, "--objects", str(count), "--directory", str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> int:
    """Measure all steps at all sizes; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--real", action="store_true", help="real objects in LocalStack, copied to Azurite")
    parser.add_argument("--step", choices=STEPS + AGAIN, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        began, started = time.process_time(), time.monotonic()
        made = run_step(chosen.step, chosen.objects[0], chosen.directory)
        made |= {
            # Of this process: other work on the machine must not count, and imports are no objects.
            "cpu_s": round(time.process_time() - began, 2),
            "seconds": round(time.monotonic() - started, 1),
            "peak_mib": round(peak_kib() / 1024, 1),
        }
        print(json.dumps(made))
        return 0
    steps = STEPS + AGAIN if chosen.real else STEPS
    rows: dict[str, list[dict[str, Any]]] = {step: [] for step in steps}
    with ExitStack() as stack:
        for count in chosen.objects:
            if chosen.real:
                fill_real(stack, count)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for step in steps:
                rows[step].append(measured(step, count, directory))
            size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
            print(f"{count:>11,} objects: {size / count:.0f} bytes of state each", flush=True)
    worst = print_table(chosen.objects, rows)
    for step in steps:
        told = {name: value for name, value in rows[step][-1].items() if name not in ("peak_mib", "cpu_s", "seconds")}
        print(f"{step}: {told}")
    print(f"largest ratio {worst:.2f}, allowed {ALLOWED:.2f}")
    sent = sum(answer["bytes_sent"] + answer["copied"] for answer in rows.get("report again", ()))
    return 0 if worst <= ALLOWED and not sent else 1


def fill_real(stack: ExitStack, count: int) -> None:
    """Put so many objects into the local S3; start it first where it does not run."""
    from real_bucket import RealPlaces, fill, real_places  # noqa: PLC0415 - it brings the SDKs

    if REAL not in os.environ:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        os.environ[REAL] = stack.enter_context(real_places(home)).text()
    began = time.monotonic()
    fill(RealPlaces.of(os.environ[REAL]), f"{count}/", count)
    print(f"{count:>11,} objects put into LocalStack in {time.monotonic() - began:.0f} s", flush=True)


def print_table(counts: list[int], rows: dict[str, list[dict[str, Any]]]) -> float:
    """Print one row for each step; return the largest ratio of peaks."""
    print(f"{'step':14}" + "".join(f"{count:>12,}: MiB, CPU s, us each, s" for count in counts) + "   ratio")
    worst = 0.0
    for step, answers in rows.items():
        cells = "".join(
            f"{answer['peak_mib']:>16.1f} {answer['cpu_s']:>7.2f} {answer['cpu_s'] / count * 1e6:>9.1f}"
            f" {answer['seconds']:>5.1f}"
            for answer, count in zip(answers, counts, strict=True)
        )
        ratio = answers[-1]["peak_mib"] / answers[0]["peak_mib"]
        worst = max(worst, ratio)
        print(f"{step:14}{cells}   {ratio:.2f}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
