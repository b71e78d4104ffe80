"""A copy uses no more memory than its budget, above the interpreter with everything imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.limits import MIB

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")

ROOT = Path(__file__).resolve().parents[2]
# Five blocks of 8 MiB, and what threads and libraries keep beside them. How many blocks are held is a matter of chance.
BUDGET_BYTES = 44 * MIB

# The first copy is small: it imports what is imported late, and opens connections.
PROGRAM = """
import json, re, sys
from pathlib import Path
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.objects import Condition
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.stores.event_loop.loop import small_object_client
from s3_to_azure.transfer.pool import copy_many
from s3_to_azure.transfer.context import CopyTask, open_context
from tests.real_stores import azure_container, s3_source

given = json.loads(sys.argv[1])
source = s3_source(LocalS3(**given["s3"]), connections=24)
destination = azure_container(LocalAzure(**given["azure"]), given["container"], connections=24)

def copy(prefix):
    listed = list(source.list(given["bucket"], prefix))
    # Objects of a plan are copied with one request each.
    condition = Condition(None) if given["planned"] else None
    tasks = [CopyTask(given["bucket"], item.key, item.key, listed=item, condition=condition) for item in listed]
    settings = CopySettings(memory_budget_bytes=given["budget"])
    client = small_object_client(source, destination)
    with open_context(source, destination, settings, small_object_client=client) as context:
        for outcome in copy_many(context, tasks):
            assert outcome.receipt.status == "copied", outcome
    return sum(item.size_bytes for item in listed)

def peak():
    # Not getrusage: a process inherits that peak from its parent.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

copy("first/")
before = peak()
copied = copy("then/")
print(json.dumps({"copied": copied, "peak": peak() - before}))
"""


@pytest.fixture
def measured(
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    s3_server: LocalS3,
    azure_server: LocalAzure,
    record_property: Callable[[str, object], None],
) -> Callable[..., dict[str, int]]:
    """Return a function that copies everything below ``then/`` in its own process, within a budget.

    It returns the bytes copied, and the peak of the memory above that at the start.
    """
    s3_client.put_object(Bucket=bucket, Key="first/small", Body=b"x")
    s3_client.put_object(Bucket=bucket, Key="first/blocks", Body=bytes(9 * MIB))

    def measure(budget_bytes: int, *, planned: bool = False) -> dict[str, int]:
        given = {
            "s3": vars(s3_server),
            "azure": vars(azure_server),
            "bucket": bucket,
            "container": container.container_name,
            "budget": budget_bytes,
            "planned": planned,
        }
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
        command = [sys.executable, "-c", PROGRAM, json.dumps(given)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        result: dict[str, int] = json.loads(done.stdout)
        record_property("peak_mib", round(result["peak"] / MIB, 1))
        return result

    return measure


@pytest.mark.slow
@pytest.mark.alone
def test_large_object_stays_within_the_budget(
    measured: Callable[..., dict[str, int]], s3_client: Any, bucket: str
) -> None:
    """An object of four budgets is copied within one budget."""
    s3_client.put_object(Bucket=bucket, Key="then/large", Body=bytes(4 * BUDGET_BYTES))
    result = measured(BUDGET_BYTES)
    assert result["copied"] == 4 * BUDGET_BYTES
    assert result["peak"] <= BUDGET_BYTES, f"{result['peak'] / MIB:.0f} MiB"


def test_objects_of_one_request_stay_within_the_budget(
    measured: Callable[..., dict[str, int]], s3_client: Any, bucket: str
) -> None:
    """Several objects at a time share one budget, copies that libraries make included."""
    for number in range(12):
        s3_client.put_object(Bucket=bucket, Key=f"then/{number}", Body=bytes(8 * MIB))
    result = measured(BUDGET_BYTES)
    assert result["copied"] == 96 * MIB
    assert result["peak"] <= BUDGET_BYTES, f"{result['peak'] / MIB:.0f} MiB"


@pytest.mark.parametrize("size_bytes", [100_000, 4 * MIB])
def test_objects_of_the_event_loop_stay_within_the_budget(
    measured: Callable[..., dict[str, int]], s3_client: Any, bucket: str, size_bytes: int
) -> None:
    """With their heads, and the buffers that are kept for the next objects."""
    count = 24 * MIB // size_bytes
    for number in range(count):
        s3_client.put_object(Bucket=bucket, Key=f"then/{number}", Body=bytes(size_bytes))
    result = measured(20 * MIB, planned=True)
    assert result["copied"] == count * size_bytes
    assert result["peak"] <= 20 * MIB, f"{result['peak'] / MIB:.0f} MiB"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_one_gib_within_the_default_budget(
    measured: Callable[..., dict[str, int]], s3_client: Any, bucket: str
) -> None:
    """1 GiB is copied within the default budget of 256 MiB, as the README says."""
    upload = s3_client.create_multipart_upload(Bucket=bucket, Key="then/large")
    ids = {"Bucket": bucket, "Key": "then/large", "UploadId": upload["UploadId"]}
    parts = [
        {"PartNumber": n, "ETag": s3_client.upload_part(**ids, PartNumber=n, Body=bytes(64 * MIB))["ETag"]}
        for n in range(1, 17)
    ]
    s3_client.complete_multipart_upload(**ids, MultipartUpload={"Parts": parts})
    result = measured(256 * MIB)
    assert result["copied"] == 1024 * MIB
    assert result["peak"] <= 256 * MIB, f"{result['peak'] / MIB:.0f} MiB"
