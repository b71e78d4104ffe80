"""How many processes a copy uses: as many as its objects, the machine and the limits can use."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Amount
from s3_to_azure.model.settings import CopySettings

# What one process needs for an object and for a byte of it (docs/benchmarks.md, 10 KB and 1 MB near).
_OBJECT_S: Final = 150e-6
_BYTE_S: Final = 1.2e-9
# A process costs a tenth of a second or two, and saves less than half of its work where it shares cores with others.
_LEAST_S: Final = 1.0
# One process keeps all cores busy with larger objects, whose bytes move without the interpreter's lock.
_SMALL_BYTES: Final = MIB
# Below that, objects in blocks and objects in one request would wait for memory.
_LEAST_BUDGET_BYTES: Final = 32 * MIB
# The quota of a container in microseconds for each period, by control groups of version 2 and 1.
_QUOTA_V2: Final = Path("/sys/fs/cgroup/cpu.max")
_QUOTAS_V1: Final = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
_STAT: Final = Path("/proc/stat")
# Fields of its first line, in ticks of all cores together.
_IDLE: Final = 4
_WAITING: Final = 5
_LEAST_WINDOW_S: Final = 0.1


def most_processes(bound: int, settings: CopySettings) -> int:
    """Return how many processes a copy with these limits may use on this machine.

    Args:
        bound: The user's.
        settings: The limits of the whole copy, which the processes share.

    Raises:
        UsageError: The bound is below 1.
    """
    if bound < 1:
        raise UsageError(detail=f"--processes={bound} is not at least 1.")
    if sys.platform != "linux":
        # Other systems have no safe fork.
        return 1
    # Each process needs a whole one of what is counted.
    counted = min(settings.objects_at_once, settings.connections)
    least_bytes = max(_LEAST_BUDGET_BYTES, settings.block_bytes or 0)
    shares = min(counted, settings.memory_budget_bytes // least_bytes)
    return max(1, min(bound, usable_cores(), shares))


def usable_cores() -> int:
    """Return how many cores this process may use at once, rounded up."""
    cores = len(os.sched_getaffinity(0))
    quota = _cores_of_container()
    return cores if quota is None else max(1, min(cores, ceil(quota)))


def _cores_of_container() -> float | None:
    """Return how many cores the container may use; None if it may use all."""
    try:
        quota, period = _QUOTA_V2.read_text("ascii").split()
    except (OSError, ValueError):
        try:
            quota, period = (path.read_text("ascii").strip() for path in _QUOTAS_V1)
        except (OSError, ValueError):
            return None
    # "max" and -1 stand for no quota.
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


class FreeCores:
    """Measures how many cores this process could have kept busy: those that were idle, and what it used itself.

    Args:
        clock: Seconds, monotonic.
        cpu_clock: CPU seconds that the process has used.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu_clock: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._began = self._now()

    def count(self, most: int) -> int:
        """Return how many cores were free since the object was made, between 1 and ``most``."""
        elapsed_s, used_s, idle_s = (now - before for now, before in zip(self._now(), self._began, strict=True))
        if elapsed_s < _LEAST_WINDOW_S:
            return most
        return max(1, min(most, round((used_s + idle_s) / elapsed_s)))

    def _now(self) -> tuple[float, float, float]:
        now = self._clock()
        try:
            fields = _STAT.read_text("ascii").split(maxsplit=_WAITING + 1)
            idle = (int(fields[_IDLE]) + int(fields[_WAITING])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            # Where the system does not tell, all are taken for idle.
            idle = now * (os.cpu_count() or 1)
        return now, self._cpu_clock(), idle


def may_use_several(listed: Amount) -> bool:
    """Return whether so many objects could keep more than one process busy if all of them were copied."""
    return _work_s(listed) >= 2 * _LEAST_S


def useful_processes(copied: Amount, largest_bytes: int, most: int, *, bandwidth_bytes_s: int | None = None) -> int:
    """Return how many processes the copy of these objects can use.

    Args:
        copied: The objects to copy.
        largest_bytes: The size of the largest of them.
        most: How many there may be.
        bandwidth_bytes_s: The bandwidth limit of the whole copy.
    """
    work_s = _work_s(copied)
    useful = min(most, int(work_s / _LEAST_S))
    if bandwidth_bytes_s and copied.size_bytes:
        # A share of the limit that one process cannot use is lost.
        useful = min(useful, ceil(work_s * bandwidth_bytes_s / copied.size_bytes))
    if useful <= 1 or copied.size_bytes > copied.objects * _SMALL_BYTES:
        return 1
    # One object must not last longer in its process, with a share of the limits, than all others together.
    return 1 if largest_bytes * useful > copied.size_bytes else useful


def _work_s(amount: Amount) -> float:
    return amount.objects * _OBJECT_S + amount.size_bytes * _BYTE_S


def share_of(total: CopySettings, processes: int) -> CopySettings:
    """Return each process's share of the limits, rounded down: all shares together do not exceed any of them.

    Args:
        total: The limits of the whole copy.
        processes: At most as many as ``most_processes`` allows, so that each gets at least one of everything.
    """
    limit = total.bandwidth_bytes_s
    return replace(
        total,
        memory_budget_bytes=total.memory_budget_bytes // processes,
        objects_at_once=total.objects_at_once // processes,
        connections=total.connections // processes,
        small_objects_at_once=total.most_small_objects // processes,
        bandwidth_bytes_s=None if limit is None else max(1, limit // processes),
    )
