"""The scenarios: objects, servers, contenders and units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmarks.contenders import (
    MIB,
    NOTHING,
    Contender,
    airflow_operator,
    cipher,
    crt,
    first_version,
    floor,
    progress,
    project,
    project_operator,
    python,
    rclone,
)
from benchmarks.rig import DISTANT, PLAIN, S3_LIKE, TLS, Climate, Family

GIB: Final = 1024 * MIB
_BLOCK_BYTES: Final = 8 * MIB
TINY: Final = Family("tiny", 1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One comparison.

    Attributes:
        family: The objects of every contender that has no others.
        unit: The unit of throughput; with ``growth``, the table shows the cost of each run instead.
        reference: The contender that ratios refer to.
        limit: The contender that marks the limit.
        baseline: With ``growth``, the contender whose CPU time is subtracted from the others', round by round.
    """

    name: str
    title: str
    climate: Climate
    family: Family
    contenders: Sequence[Contender]
    unit: Literal["bytes", "objects", "growth"] = "bytes"
    reference: str = "rclone"
    limit: str | None = None
    baseline: str | None = None


def _tuned_rclone(name: str, chunk_mib: int, streams: int) -> Contender:
    chunk = ("--azureblob-chunk-size", f"{chunk_mib}Mi", "--azureblob-upload-concurrency", str(streams))
    return rclone(name, *chunk, "--multi-thread-streams", str(streams))


def _project_with_connections(connections: int, *options: str) -> Contender:
    """The project with some connections, and the throughput that the model of ``transfer/concurrency.py`` allows."""
    block_s = S3_LIKE.latency_ms / 1000 + _BLOCK_BYTES / S3_LIKE.bytes_per_s
    made = project(f"s3-to-azure, {connections} connections", "--connections", str(connections), *options)
    return replace(made, model_mb_s=connections * _BLOCK_BYTES / block_s / 1e6)


def _size(size_bytes: int, *options: str, note: str = "") -> Contender:
    text = f"{size_bytes // GIB} GiB" if size_bytes >= GIB else f"{size_bytes // MIB} MiB"
    prefix = f"size{size_bytes // MIB}"
    return project(f"one object of {text}{note}", *options, family=Family(prefix, size_bytes, sparse=True))


def _count(count: int, size_bytes: int, *options: str, note: str = "") -> Contender:
    text = f"{size_bytes // MIB} MiB" if size_bytes >= MIB else f"{size_bytes:,} bytes"
    family = Family(f"count{count}x{size_bytes}", size_bytes, count)
    return project(f"{count:,} objects of {text}{note}", *options, family=family)


# A task process of Airflow ends without the interpreter's shutdown.
_END: Final = "; import os; os._exit(0)"
_HOOKS: Final = (
    "import airflow.sdk; "
    "from airflow.providers.amazon.aws.hooks.s3 import S3Hook; "
    "from airflow.providers.microsoft.azure.hooks.wasb import WasbHook"
)
_READS: Final = 10_000
_WRITES: Final = 500
_EMPTY_DAG: Final = """
from airflow.sdk import dag, task
@dag
def empty():
    @task
    def nothing():
        pass
    nothing()
empty()
"""
LARGE: Final = Family("large", 2 * GIB)
SMALL: Final = Family("small", 10_000, 20_000)
_TWO_PROCESSES: Final = project("s3-to-azure, 2 processes", "--processes", "2")

SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "plain",
            "One object of 2 GiB, plain HTTP",
            PLAIN,
            LARGE,
            (
                project(),
                rclone(),
                _tuned_rclone("rclone, 16 MiB x 4", 16, 4),
                floor("floor", threads=3, block_bytes=8 * MIB),
                floor("floor, lean", "--lean", threads=3, block_bytes=8 * MIB),
                floor("floor, lean, CRC64", "--lean", "--crc", threads=3, block_bytes=8 * MIB),
                airflow_operator(),
                first_version(),
            ),
            limit="floor",
        ),
        Scenario(
            "tls",
            "One object of 2 GiB, TLS on both legs",
            TLS,
            LARGE,
            (
                project(),
                rclone(),
                _tuned_rclone("rclone, 16 MiB x 4", 16, 4),
                floor("floor", threads=3, block_bytes=8 * MIB),
                floor("floor, lean", "--lean", threads=2, block_bytes=8 * MIB),
                floor("floor, lean, CRC64", "--lean", "--crc", threads=2, block_bytes=8 * MIB),
            ),
            limit="floor",
        ),
        Scenario(
            "tls-ways",
            "Ways to do TLS: 2 GiB received and sent",
            TLS,
            LARGE,
            (
                python("nothing", "pass"),
                cipher("the cipher alone", LARGE.size_bytes),
                floor("http.client, 2 threads", threads=2, block_bytes=8 * MIB),
                floor("SSLSocket.recv_into, 2 threads", "--lean", threads=2, block_bytes=8 * MIB),
                floor("MemoryBIO, 2 threads", "--bio", threads=2, block_bytes=8 * MIB),
                crt("awscrt's HTTP client, 2 connections", connections=2, block_bytes=8 * MIB),
                project("s3-to-azure, whole process"),
            ),
            unit="growth",
            baseline="nothing",
        ),
        Scenario(
            "s3like",
            "One object of 8 GiB, 90 MB/s per connection and 30 ms to the first byte on both legs",
            S3_LIKE,
            Family("huge", 8 * GIB, sparse=True),
            (
                project("s3-to-azure"),
                _project_with_connections(8),
                _project_with_connections(16),
                _project_with_connections(32, "--memory-budget", "512MiB"),
                rclone(),
                _tuned_rclone("rclone, 16 streams", 16, 16),
                _tuned_rclone("rclone, 32 streams", 16, 32),
            ),
        ),
        Scenario(
            "small",
            "20,000 objects of 10 KB, plain HTTP",
            PLAIN,
            SMALL,
            (
                project(),
                _TWO_PROCESSES,
                project_operator(),
                rclone(),
                rclone("rclone, 32 transfers", "--transfers", "32"),
                # Its 20,000 objects would take minutes.
                airflow_operator(Family("few", 10_000, 1_000)),
            ),
            unit="objects",
            reference="rclone, 32 transfers",
        ),
        Scenario(
            "small-tls",
            "20,000 objects of 10 KB, TLS on both legs",
            TLS,
            SMALL,
            (project(), _TWO_PROCESSES, rclone(), rclone("rclone, 32 transfers", "--transfers", "32")),
            unit="objects",
            reference="rclone, 32 transfers",
        ),
        Scenario(
            "small-far",
            "6,000 objects of 10 KB, 30 ms to the first byte on both legs",
            DISTANT,
            Family("far", 10_000, 6_000),
            (
                project(),
                project("s3-to-azure, 20 at once", "--objects-at-once", "20"),
                rclone("rclone, 32 transfers", "--transfers", "32"),
                rclone("rclone, 300 transfers", "--transfers", "300"),
            ),
            unit="objects",
            reference="rclone, 300 transfers",
        ),
        Scenario(
            "medium",
            "1,000 objects of 1 MB, plain HTTP",
            PLAIN,
            Family("medium", 1_000_000, 1_000),
            (
                project(),
                _TWO_PROCESSES,
                project_operator(),
                rclone(),
                rclone("rclone, 32 transfers", "--transfers", "32"),
                airflow_operator(),
            ),
            unit="objects",
            reference="rclone, 32 transfers",
        ),
        Scenario(
            "memory",
            "Peak memory against object size, budget and objects at a time",
            PLAIN,
            NOTHING,
            (
                _size(1 * GIB),
                _size(4 * GIB),
                _size(10 * GIB),
                _size(4 * GIB, "--memory-budget", "64MiB", note=", budget 64 MiB"),
                _count(64, 64 * MIB, "--objects-at-once", "1", note=", 1 at a time"),
                _count(64, 64 * MIB, "--objects-at-once", "32", note=", 32 at a time"),
                _count(64, 64 * MIB, "--objects-at-once", "32", "--memory-budget", "64MiB", note=", 32, 64 MiB"),
            ),
            unit="growth",
        ),
        Scenario(
            "growth-size",
            "Time and requests against the size of one object",
            PLAIN,
            NOTHING,
            tuple(_size(mib * MIB) for mib in (1, 4, 16, 64, 256, 1024, 4096, 10240)),
            unit="growth",
        ),
        Scenario(
            "growth-count",
            "Time and requests against the number of objects of 10 KB",
            PLAIN,
            NOTHING,
            tuple(_count(count, 10_000) for count in (100, 1_000, 10_000, 100_000)),
            unit="growth",
        ),
        Scenario(
            "batch",
            "The cost of a task for 1, 100 and 10,000 objects of 10 KB",
            PLAIN,
            NOTHING,
            (
                python("airflow.sdk alone", f"import airflow.sdk{_END}"),
                python("Airflow's two hooks", f"{_HOOKS}{_END}"),
                python("a client of each hook", f"{_HOOKS}; S3Hook().get_conn(); WasbHook().get_conn(){_END}"),
                *(
                    project_operator(f"the operator, {what}", family=Family(f"batch{count}", 10_000, count))
                    for count, what in ((1, "1 object"), (100, "100 objects"), (10_000, "10,000 objects"))
                ),
            ),
            unit="growth",
            baseline="airflow.sdk alone",
        ),
        Scenario(
            "progress",
            "What it costs to tell of progress, in Airflow with its API server and database",
            PLAIN,
            NOTHING,
            tuple(progress(looks, updates) for looks, updates in ((0, 0), (_READS, 0), (0, _WRITES))),
            unit="growth",
            baseline="a task without progress",
        ),
        Scenario(
            "start",
            "The cost of Airflow and of this project before the first byte",
            PLAIN,
            NOTHING,
            (
                python("nothing", "pass"),
                python("airflow.sdk", "import airflow.sdk"),
                python("the operator's module", "import s3_to_azure.operators"),
                python("a DAG of one empty task", _EMPTY_DAG),
                python("the example DAG's file", "import s3_to_azure_migration"),
                python("the CLI's help", "import sys; from s3_to_azure.cli.main import main; main(['copy', '--help'])"),
                project("the CLI, one object of one byte", family=TINY),
            ),
            unit="growth",
        ),
    )
}
