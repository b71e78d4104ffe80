# ruff: noqa: E402 - the path comes first
"""Peak memory and time of listing, plan, report and comparison for two numbers of objects, on which it must not depend.

    .venv/bin/python benchmarks/plan_memory.py [--objects 20000 200000] [--real]

Each step runs in a process of its own, as in Airflow. The listings are generated (the destination holds half of the
objects already; what the comparison sees has differences, and it fails unless each is found), and the state files are
real, in a temporary directory. With --real the objects are real too, in LocalStack, and are copied to Azurite; a second
run follows. The exit status is 1 where the peak of a step is more than 30 % higher for the larger number of objects (of
the second plan, which holds pages of both listings: where it is above 256 MiB), or where the second run sends any byte.
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
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]

from benchmarks.local_state import LocalState
from s3_to_azure.model.names import check_blob
from s3_to_azure.model.objects import BlobState, ListedObject, Receipt
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.state.plan import BatchDescriptor, read_plan_index
from s3_to_azure.state.receipts import ReceiptWriter

BUCKET: Final = "benchmark"
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALLOWED: Final = 1.30
# The listing of the container holds up to ten pages of 5,000 blobs with their metadata: all of them from 50,000 on.
MOST_MIB: Final = {"plan again": 256.0}
STEPS: Final = ("list", "plan", "copy", "report")
COMPARE: Final = "compare"
WRITE_REPORT: Final = "write a checksum report"
WITH_REPORT: Final = "list with it"
WRITE_INVENTORY: Final = "write an inventory in "
BY_INVENTORY: Final = "list by an inventory in "
BY_INVENTORIES: Final = (f"{BY_INVENTORY}CSV", f"{BY_INVENTORY}Parquet")
AGAIN: Final = ("list again", "plan again", "report again")
SETTINGS: Final = PlanSettings(s3_prefix="", blob_prefix="")
# The variable that gives the servers' addresses to the processes of the steps.
REAL: Final = "PLAN_MEMORY_REAL"


def listing(count: int) -> Iterator[ListedObject]:
    """Yield ``count`` objects as S3 would list them: keys of 60 characters, 1 KB to 1 MB."""
    for number in range(count):
        yield ListedObject(
            BUCKET,
            f"warehouse/events/2026/03/{number // 5_000:05}/part-{number:012}.parquet",
            f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}",
            1_000 + number * 7_919 % 1_000_000,
            NOON,
        )


class HalfFilledDestination:
    """A destination that lists a copy of every second object."""

    container = "benchmark"
    check_name = staticmethod(check_blob)

    def __init__(self, count: int) -> None:
        self._count = count

    def list(self, _prefix: str) -> Iterator[BlobState]:
        """Yield the blobs."""
        for number, listed in enumerate(listing(self._count)):
            if number % 2:
                metadata = {"s3_etag": listed.etag, "s3_last_modified": NOON.isoformat(), "s3_verified_by": "crc64nvme"}
                yield BlobState(listed.key, f"0x8D{number:013X}", listed.size_bytes, "BlockBlob", metadata)

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse all else: a plan of small objects needs only the listing."""
        raise AssertionError(f"the plan called {name}")


def run_step(step: str, count: int, directory: Path) -> dict[str, Any]:  # noqa: C901, PLR0911 - one for each step
    """Run one step; return its counts."""
    if REAL in os.environ:
        return run_real_step(step, count, directory)
    if step == COMPARE:
        # It imports what the other steps' memory should not hold.
        from benchmarks.drift import compare_drift  # noqa: PLC0415

        return compare_drift(partial(listing, count), BUCKET)
    if step.startswith((WRITE_INVENTORY, BY_INVENTORY)):
        # pyarrow is imported where Parquet is read, or written.
        from benchmarks.inventory import list_by_inventory, write_inventory  # noqa: PLC0415

        if step.startswith(BY_INVENTORY):
            counts = list_by_inventory(BUCKET, LocalState(directory), directory)
            assert counts["objects"] == count
            return counts
        write_inventory(partial(listing, count), step.removeprefix(WRITE_INVENTORY), directory)
        return {}
    if step in (WRITE_REPORT, WITH_REPORT):
        from benchmarks.checksum_report import list_with_report, write_report  # noqa: PLC0415

        objects = partial(listing, count)
        if step == WITH_REPORT:
            return list_with_report(objects, BUCKET, LocalState(directory), directory)
        write_report(objects, directory)
        return {}
    files = LocalState(directory)
    pointer_path = directory / "pointer.json"
    if step == "list":
        return listed(listing(count), files, pointer_path, prefix="")
    pointer = ManifestPointer.from_dict(json.loads(pointer_path.read_text()))
    if step == "plan":
        destination: Any = HalfFilledDestination(count)
        return planned(make_plan(files, pointer, destination, SETTINGS))
    if step == "copy":
        index = read_plan_index(files)
        assert index is not None
        for batch in index.batches:
            write_receipts(files, batch)
        return {}
    return reported(make_report(files, pointer))


def run_real_step(step: str, count: int, directory: Path) -> dict[str, Any]:
    """Run one step over real objects; the second run has state files of its own."""
    # It imports the SDKs, which generated listings do not need.
    from benchmarks.real_bucket import RealServers  # noqa: PLC0415

    servers = RealServers.from_json(os.environ[REAL])
    files = LocalState(directory / ("second" if step in AGAIN else "first"))
    pointer_path = directory / ("second.json" if step in AGAIN else "first.json")
    prefix = f"{count}/"
    action = step.partition(" ")[0]
    if action == "list":
        return listed(servers.source().list(BUCKET, prefix), files, pointer_path, prefix=prefix)
    pointer = ManifestPointer.from_dict(json.loads(pointer_path.read_text()))
    if action == "plan":
        settings = PlanSettings(s3_prefix=prefix, blob_prefix=prefix)
        return planned(make_plan(files, pointer, servers.destination(), settings))
    if action == "copy":
        index = read_plan_index(files)
        assert index is not None
        with servers.transfer_context() as context:
            for batch in index.batches:
                copy_batch(context, files, batch, bucket=BUCKET, s3_prefix=prefix, blob_prefix=prefix, try_number=1)
            totals = context.progress.snapshot()
        return {"objects": totals.objects_done, "bytes_sent": totals.bytes_sent}
    return reported(make_report(files, pointer))


def listed(objects: Iterator[ListedObject], files: LocalState, pointer_path: Path, *, prefix: str) -> dict[str, Any]:
    """Write the manifest, and its pointer for the next steps."""
    pointer = write_manifest(objects, files, bucket=BUCKET, prefix=prefix)
    pointer_path.write_text(json.dumps(pointer.as_dict()))
    return {"objects": pointer.objects, "state_bytes": pointer.length}


def planned(plan: Plan) -> dict[str, Any]:
    """Return the counts of a plan."""
    counts = {"batches": len(plan.batches), "copy": plan.copy.objects, "unchanged": plan.unchanged.objects}
    requests: dict[str, int] = plan.summary()["requests"]["planning"]
    return counts | requests


def reported(report: Report) -> dict[str, Any]:
    """Return the counts of a report."""
    assert report.error() is None
    counts = {status: report.total(status).objects for status in ("copied", "unchanged")}
    return counts | {"bytes_sent": report.bytes_sent}


def write_receipts(files: LocalState, batch: BatchDescriptor) -> None:
    """Write receipts as if the batch had copied all its objects."""
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
    """Return the peak memory of this process; getrusage would include the parent's, from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def measured(step: str, count: int, directory: Path) -> dict[str, Any]:
    """Run one step in a process of its own; return its counts, peak memory and time."""
    command = [sys.executable, __file__, "--step", step, "--objects", str(count), "--directory", str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    """Measure all steps for all numbers of objects; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--real", action="store_true", help="real objects in LocalStack, copied to Azurite")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        began, started = time.process_time(), time.monotonic()
        counts = run_step(chosen.step, chosen.objects[0], chosen.directory)
        counts |= {
            # The CPU time of this process alone, after the imports.
            "cpu_s": round(time.process_time() - began, 2),
            "seconds": round(time.monotonic() - started, 1),
            "peak_mib": round(peak_kib() / 1024, 1),
        }
        print(json.dumps(counts))
        return 0
    steps = STEPS + AGAIN if chosen.real else (*STEPS, COMPARE, WITH_REPORT, *BY_INVENTORIES)
    rows: dict[str, list[dict[str, Any]]] = {step: [] for step in steps}
    with ExitStack() as stack:
        for count in chosen.objects:
            if chosen.real:
                fill_real(stack, count)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for step in steps:
                if step == WITH_REPORT:
                    measured(WRITE_REPORT, count, directory)
                if step.startswith(BY_INVENTORY):
                    measured(step.replace(BY_INVENTORY, WRITE_INVENTORY), count, directory)
                rows[step].append(measured(step, count, directory))
                if step in ("report", AGAIN[-1]):
                    # Before the comparison and the checksum report, whose files no run leaves.
                    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
            print(f"{count:>11,} objects: {size / count:.0f} bytes of state each", flush=True)
    worst = print_table(chosen.objects, rows)
    for step in steps:
        counts = {name: value for name, value in rows[step][-1].items() if name not in ("peak_mib", "cpu_s", "seconds")}
        print(f"{step}: {counts}")
    above = [step for step, most in MOST_MIB.items() if any(result["peak_mib"] > most for result in rows.get(step, ()))]
    print(f"largest ratio {worst:.2f}, allowed {ALLOWED:.2f}; above their limit: {', '.join(above) or 'none'}")
    sent = sum(result["bytes_sent"] + result["copied"] for result in rows.get("report again", ()))
    return 0 if worst <= ALLOWED and not above and not sent else 1


def fill_real(stack: ExitStack, count: int) -> None:
    """Put ``count`` objects into the local S3, which is started first where it does not run."""
    # It imports the SDKs, which generated listings do not need.
    from benchmarks.real_bucket import RealServers, fill, real_servers  # noqa: PLC0415

    if REAL not in os.environ:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        os.environ[REAL] = stack.enter_context(real_servers(home)).to_json()
    began = time.monotonic()
    fill(RealServers.from_json(os.environ[REAL]), f"{count}/", count)
    print(f"{count:>11,} objects put into LocalStack in {time.monotonic() - began:.0f} s", flush=True)


def print_table(counts: list[int], rows: dict[str, list[dict[str, Any]]]) -> float:
    """Print one row per step; return the largest ratio of peaks, of the steps without a limit of their own."""
    print(f"{'step':31}" + "".join(f"{count:>12,}: MiB, CPU s, us/object, s" for count in counts) + "   ratio")
    worst = 0.0
    for step, results in rows.items():
        cells = "".join(
            f"{result['peak_mib']:>16.1f} {result['cpu_s']:>7.2f} {result['cpu_s'] / count * 1e6:>9.1f}"
            f" {result['seconds']:>5.1f}"
            for result, count in zip(results, counts, strict=True)
        )
        ratio = results[-1]["peak_mib"] / results[0]["peak_mib"]
        if step not in MOST_MIB:
            worst = max(worst, ratio)
        print(f"{step:31}{cells}   {ratio:.2f}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
