"""Memory and time of listing, plan and report at two sizes: it must not matter how many objects there are.

    .venv/bin/python benchmarks/plan_memory.py [--objects 20000 200000]

Each step runs in a process of its own, as in Airflow. The lister and the destination are fakes at the stores' ports
(half of the objects are in the destination already); the state files are real, in a temporary directory. Exits 1
where a step's peak at the larger size is more than 30 % above that at the smaller one.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

from s3_to_azure.engine.batch_slice import BatchSlice  # noqa: E402 - the path comes first
from s3_to_azure.engine.batches import BatchDescriptor  # noqa: E402
from s3_to_azure.engine.manifest import ManifestPointer, write_manifest  # noqa: E402
from s3_to_azure.engine.model import BlobState, ListedObject, Receipt  # noqa: E402
from s3_to_azure.engine.plan_files import read_plan_index  # noqa: E402
from s3_to_azure.engine.planning import PlanSettings, make_plan  # noqa: E402
from s3_to_azure.engine.receipts import ReceiptWriter  # noqa: E402
from s3_to_azure.engine.report import make_report  # noqa: E402
from s3_to_azure.stores.local_state import LocalState  # noqa: E402

BUCKET: Final = "benchmark"
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALLOWED: Final = 1.30
STEPS: Final = ("list", "plan", "copy", "report")
SETTINGS: Final = PlanSettings(s3_prefix="", blob_prefix="")


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
    files = LocalState(directory)
    told = directory / "pointer.json"
    if step == "list":
        pointer = write_manifest(listing(count), files, bucket=BUCKET, prefix="")
        told.write_text(json.dumps(pointer.as_dict()))
        return {"state_bytes": pointer.length}
    pointer = ManifestPointer.from_dict(json.loads(told.read_text()))
    if step == "plan":
        plan = make_plan(files, pointer, Destination(count), SETTINGS)
        return {"batches": len(plan.batches), "copy": plan.copy.objects, **plan.summary()["requests"]["planning"]}
    if step == "copy":
        index = read_plan_index(files)
        assert index is not None
        for batch in index.batches:
            write_receipts(files, batch)
        return {}
    report = make_report(files, pointer)
    assert report.error() is None
    return {"copied": report.total("copied").objects, "unchanged": report.total("unchanged").objects}


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
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        began = time.process_time()
        made = run_step(chosen.step, chosen.objects[0], chosen.directory)
        made |= {
            # Of this process: other work on the machine must not count, and imports are no objects.
            "cpu_s": round(time.process_time() - began, 2),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
        print(json.dumps(made))
        return 0
    rows: dict[str, list[dict[str, Any]]] = {step: [] for step in STEPS}
    for count in chosen.objects:
        with tempfile.TemporaryDirectory() as directory:
            for step in STEPS:
                rows[step].append(measured(step, count, Path(directory)))
            size = sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())
            print(f"{count:>11,} objects: {size / count:.0f} bytes of state each")
    print(f"{'step':8}" + "".join(f"{count:>12,}: MiB, CPU s, us each" for count in chosen.objects) + "   ratio")
    worst = 0.0
    for step, answers in rows.items():
        cells = "".join(
            f"{answer['peak_mib']:>16.1f} {answer['cpu_s']:>7.2f} {answer['cpu_s'] / count * 1e6:>11.1f}"
            for answer, count in zip(answers, chosen.objects, strict=True)
        )
        ratio = answers[-1]["peak_mib"] / answers[0]["peak_mib"]
        worst = max(worst, ratio)
        print(f"{step:8}{cells}   {ratio:.2f}")
    for step in ("plan", "report"):
        told = {name: value for name, value in rows[step][-1].items() if name not in ("peak_mib", "cpu_s")}
        print(f"{step}: {told}")
    print(f"largest ratio {worst:.2f}, allowed {ALLOWED:.2f}")
    return 0 if worst <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
