"""Run a contender as a process and measure it: wall time, CPU time of its process tree, peak memory."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DISTURBED_SHARE: Final = 0.12
"""A run during which other processes take more than this share of the machine says little about throughput."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_QUIET_SHARE: Final = 0.10
_LOOK_S: Final = 0.5
_TAIL: Final = 1_500


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one run.

    Attributes:
        cpu_s: User and system time of the process and its children.
        peak_rss_bytes: Peak memory of the largest process of the tree.
        rig_cpu_s: CPU time of the servers.
        others_share: Share of the machine's CPU time that all other processes took.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    rig_cpu_s: float
    others_share: float


class ContenderFailed(RuntimeError):
    """A contender failed; the message ends with its output."""


def run(command: Sequence[str | Path], *, environment: Mapping[str, str], rig_directory: Path) -> Cost:
    """Run the command until it exits.

    Raises:
        ContenderFailed: Its exit status is not 0.
    """
    with tempfile.TemporaryFile() as output:
        rig_before, busy_before, began = _rig_cpu_s(rig_directory), _busy_s(), time.perf_counter()
        process = subprocess.Popen(
            [*command], env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        busy_s = _busy_s() - busy_before
        rig_cpu_s = _rig_cpu_s(rig_directory) - rig_before
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-_TAIL:]
            raise ContenderFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text}")
    cpu_s = usage.ru_utime + usage.ru_stime
    others = max(0.0, busy_s - cpu_s - rig_cpu_s) / (wall_s * (os.cpu_count() or 1))
    return Cost(wall_s, cpu_s, usage.ru_maxrss * 1024, rig_cpu_s, others)


def wait_until_quiet(timeout_s: float) -> None:
    """Wait until other processes take little of the machine, at most ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        before = _busy_s()
        time.sleep(_LOOK_S)
        share = (_busy_s() - before) / (_LOOK_S * (os.cpu_count() or 1))
        if share < _QUIET_SHARE or time.monotonic() > deadline:
            return


def _busy_s() -> float:
    """Return the CPU time of the whole machine that was not idle."""
    fields = [int(value) for value in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _rig_cpu_s(directory: Path) -> float:
    """Return the CPU time of the servers: those that name its directory in their command line, and their children."""
    roots: set[int] = set()
    seen: dict[int, tuple[int, int]] = {}
    mark = os.fsencode(directory)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if mark in (entry / "cmdline").read_bytes():
                roots.add(int(entry.name))
        except OSError:
            continue
        seen[int(entry.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    return sum(ticks for pid, (parent, ticks) in seen.items() if pid in roots or parent in roots) / _TICKS
