"""The scenarios: which objects, which servers, which contenders, and what is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.contenders import MIB, Contender, airflow_operator, first_version, floor, project, rclone
from benchmarks.rig import PLAIN, S3_LIKE, TLS, Climate, Family

GIB: Final = 1024 * MIB
TINY: Final = Family("tiny", 1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One comparison.

    Attributes:
        family: What every contender copies.
        unit: Throughput is counted in bytes or in objects.
        reference: The contender that ratios are told against.
        limit: The contender that stands for the limit.
    """

    name: str
    title: str
    climate: Climate
    family: Family
    contenders: Sequence[Contender]
    unit: Literal["bytes", "objects"] = "bytes"
    reference: str = "rclone"
    limit: str | None = None


def _tuned_rclone(name: str, chunk_mib: int, streams: int) -> Contender:
    chunk = ("--azureblob-chunk-size", f"{chunk_mib}Mi", "--azureblob-upload-concurrency", str(streams))
    return rclone(name, *chunk, "--multi-thread-streams", str(streams))


LARGE: Final = Family("large", 2 * GIB)

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
                floor("floor", threads=3, block_bytes=16 * MIB),
                floor("floor, lean", "--lean", threads=3, block_bytes=16 * MIB),
                floor("floor, lean, CRC64", "--lean", "--crc", threads=3, block_bytes=16 * MIB),
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
                floor("floor", threads=3, block_bytes=16 * MIB),
                floor("floor, lean", "--lean", threads=2, block_bytes=16 * MIB),
                floor("floor, lean, CRC64", "--lean", "--crc", threads=2, block_bytes=16 * MIB),
            ),
            limit="floor",
        ),
        Scenario(
            "s3like",
            "One object of 2 GiB, 90 MB/s a connection and 30 ms to the first byte on both legs",
            S3_LIKE,
            LARGE,
            (
                project("s3-to-azure"),
                project("s3-to-azure, 16 lanes", "--lanes", "16"),
                project("s3-to-azure, 32 lanes", "--lanes", "32", "--memory-budget", "512MiB"),
                rclone(),
                _tuned_rclone("rclone, 16 streams", 16, 16),
                _tuned_rclone("rclone, 32 streams", 16, 32),
            ),
        ),
        Scenario(
            "small",
            "3,000 objects of 10 KB, plain HTTP",
            PLAIN,
            Family("small", 10_000, 3_000),
            (project(), rclone(), rclone("rclone, 32 transfers", "--transfers", "32"), airflow_operator()),
            unit="objects",
            reference="rclone, 32 transfers",
        ),
        Scenario(
            "small-tls",
            "3,000 objects of 10 KB, TLS on both legs",
            TLS,
            Family("small", 10_000, 3_000),
            (project(), rclone(), rclone("rclone, 32 transfers", "--transfers", "32")),
            unit="objects",
            reference="rclone, 32 transfers",
        ),
        Scenario(
            "medium",
            "1,000 objects of 1 MB, plain HTTP",
            PLAIN,
            Family("medium", 1_000_000, 1_000),
            (project(), rclone(), rclone("rclone, 32 transfers", "--transfers", "32"), airflow_operator()),
            unit="objects",
            reference="rclone, 32 transfers",
        ),
    )
}
