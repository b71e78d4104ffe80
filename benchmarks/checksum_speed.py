"""``python -m benchmarks.checksum_speed``: the CPU time of each checksum for one GB, in blocks of 8 MiB."""

import time
from typing import Final

from s3_to_azure.model.checksums import ALGORITHMS, Algorithm
from s3_to_azure.model.limits import MIB

_BLOCK_BYTES: Final = 8 * MIB
_BLOCKS: Final = 32
_RUNS: Final = 3


def seconds_per_gb(algorithm: Algorithm) -> float:
    """Return the least CPU time of three runs."""
    block = memoryview(bytearray(_BLOCK_BYTES))
    least = float("inf")
    for _ in range(_RUNS):
        began = time.process_time()
        for _ in range(_BLOCKS):
            algorithm.digest(block)
        least = min(least, time.process_time() - began)
    return least * 1e9 / (_BLOCK_BYTES * _BLOCKS)


if __name__ == "__main__":
    for each in ALGORITHMS.values():
        print(f"{each.name:10} {seconds_per_gb(each):6.2f} s/GB")
