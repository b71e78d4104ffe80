"""One run of one contender between the rig's servers."""

import sys
from typing import Final

from benchmarks.contenders import Contender
from benchmarks.measure import DISTURBED_SHARE, ContenderFailed, Cost, run, wait_until_quiet
from benchmarks.rig import Family, Rig
from benchmarks.tables import Run

_MAX_TRIES: Final = 3


def undisturbed_run(servers: Rig, contender: Contender, family: Family, number: int, wait_s: float) -> Run:
    """Repeat a run that other processes disturbed; return the least disturbed one."""
    tries: list[Run] = []
    while len(tries) < _MAX_TRIES:
        tries.append(one_run(servers, contender, family, number, wait_s, is_start=False))
        if tries[-1].cost is None or tries[-1].cost.others_share < DISTURBED_SHARE:
            return tries[-1]
    return min(tries, key=lambda run: run.cost.others_share if run.cost else 1)


def one_run(servers: Rig, contender: Contender, family: Family, number: int, wait_s: float, *, is_start: bool) -> Run:
    """Run a contender once.

    Args:
        servers: The rig.
        contender: The program.
        family: The objects that it copies.
        number: The round.
        wait_s: How long to wait at most for a quiet machine.
        is_start: The run copies one byte, so its cost is the start-up.
    """
    wait_until_quiet(wait_s)
    servers.reset()
    gets = servers.source_requests()
    cost: Cost | None = None
    try:
        cost = run(
            contender.command(servers, family),
            environment={**servers.environment(), **contender.environment},
            rig_directory=servers.directory,
        )
    except ContenderFailed as error:
        print(error, file=sys.stderr)
    counts = servers.sink_counts()
    size_bytes = family.total_bytes
    arrived = counts["put_blob"] + counts["put_block_list"]
    if cost is not None and (counts["bytes"] < size_bytes or arrived < family.count):
        print(f"{contender.name}: only {arrived} blobs with {counts['bytes']} bytes arrived", file=sys.stderr)
        cost = None
    item = Run(
        contender=contender.name,
        round=number,
        is_start=is_start,
        size_bytes=size_bytes,
        objects=family.count,
        cost=cost,
        # The request for the count is counted too.
        source_requests=servers.source_requests() - gets - 1,
        sink_requests={kind: count for kind, count in counts.items() if kind != "bytes" and count},
    )
    if cost and not is_start:
        print(
            f"  round {number + 1}  {contender.name:24} {cost.wall_s:7.2f} s  {cost.cpu_s:7.2f} s CPU  "
            f"{cost.peak_rss_bytes / 2**20:6.0f} MiB  (other processes took {cost.others_share:.0%} of the machine)",
            flush=True,
        )
    return item
