"""How many processes a copy uses."""

import os
from pathlib import Path

import pytest

from s3_to_azure.cli.processes import count
from s3_to_azure.cli.processes.count import (
    FreeCores,
    may_use_several,
    most_processes,
    share_of,
    useful_processes,
)
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import GIB, KIB, MIB
from s3_to_azure.model.objects import Amount
from s3_to_azure.model.settings import CopySettings

# What the other tests replace by one.
usable_cores = count.usable_cores


@pytest.mark.parametrize(
    ("bound", "settings", "most"),
    [
        (4, CopySettings(), 4),
        (1, CopySettings(), 1),
        (100, CopySettings(), 6),
        (4, CopySettings(objects_at_once=3), 3),
        (4, CopySettings(connections=2), 2),
        (4, CopySettings(memory_budget_bytes=95 * MIB), 2),
        (4, CopySettings(memory_budget_bytes=MIB), 1),
        (4, CopySettings(block_bytes=100 * MIB), 2),
    ],
)
def test_bounds(monkeypatch: pytest.MonkeyPatch, bound: int, settings: CopySettings, most: int) -> None:
    """The user's, the machine's, and that of the limits that are shared."""
    monkeypatch.setattr(count, "usable_cores", lambda: 6)
    assert most_processes(bound, settings) == most


def test_bound_below_one_is_refused() -> None:
    """It can be no other number."""
    with pytest.raises(UsageError, match="--processes=0 is not at least 1"):
        most_processes(0, CopySettings())


def test_other_systems_use_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork is safe on Linux only."""
    monkeypatch.setattr(count, "usable_cores", lambda: 6)
    monkeypatch.setattr("sys.platform", "darwin")
    assert most_processes(4, CopySettings()) == 1


@pytest.mark.parametrize(
    ("v2", "v1", "cores"),
    [
        (None, None, 8),
        ("max 100000", None, 8),
        ("200000 100000", None, 2),
        ("150000 100000", None, 2),
        ("5000 100000", None, 1),
        ("6400000 100000", None, 8),
        ("nonsense", None, 8),
        ("0 0", None, 8),
        (None, ("-1", "100000"), 8),
        (None, ("300000", "100000"), 3),
    ],
)
def test_cores_of_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, v2: str | None, v1: tuple[str, str] | None, cores: int
) -> None:
    """A container that may use two of eight cores uses two processes; what cannot be read is no limit."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    paths = [tmp_path / name for name in ("v2", "quota", "period")]
    for path, text in zip(paths, (v2, *(v1 or (None, None))), strict=True):
        if text is not None:
            path.write_text(f"{text}\n")
    monkeypatch.setattr(count, "_QUOTA_V2", paths[0])
    monkeypatch.setattr(count, "_QUOTAS_V1", tuple(paths[1:]))
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("objects", "each", "largest", "processes"),
    [
        (0, 0, 0, 1),
        (1_000, 10 * KIB, 10 * KIB, 1),
        (12_000, 10 * KIB, 10 * KIB, 1),
        (13_000, 10 * KIB, 10 * KIB, 2),
        (100_000, 10 * KIB, 10 * KIB, 4),
        (21_000, 0, 0, 3),
        (1_400, MIB, MIB, 1),
        (1_500, MIB, MIB, 2),
        # Large objects keep all cores busy from one process.
        (1_000, 16 * MIB, 16 * MIB, 1),
        # Half of all bytes are in one object.
        (100_000, 20 * KIB, GIB, 1),
    ],
)
def test_work_decides(objects: int, each: int, largest: int, processes: int) -> None:
    """A process must have enough to do to be worth its start."""
    amount = Amount(objects, objects * each)
    assert useful_processes(amount, largest, 4) == processes
    # The first look must rule out nothing that the plan may find useful.
    assert may_use_several(amount) or processes == 1


@pytest.mark.parametrize(
    ("used_s", "idle_ticks", "cores"),
    [
        # The other one of two cores is idle while this process plans, or busy with something else.
        (0.9, 100, 2),
        (0.9, 10, 1),
        # This process waits for the network.
        (0.1, 190, 2),
        (0.1, 0, 1),
        # Many cores are idle.
        (0.9, 6_000, 4),
    ],
)
def test_busy_machine_has_fewer_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, used_s: float, idle_ticks: int, cores: int
) -> None:
    """What others use during the plan is not free."""
    stat = tmp_path / "stat"
    monkeypatch.setattr(count, "_STAT", stat)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    now = iter([1_000.0, 1_001.0])
    used = iter([5.0, 5.0 + used_s])
    stat.write_text("cpu  9 9 9 1000 50 9 9 9 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    measured = FreeCores(lambda: next(now), lambda: next(used))
    stat.write_text(f"cpu  99 99 99 {1000 + idle_ticks // 2} {50 + idle_ticks - idle_ticks // 2} 9 9 9 9 9\n")
    assert measured.count(4) == cores


@pytest.mark.parametrize("text", [None, "", "cpu x y z v w u t s r q"])
def test_system_that_tells_no_idle_time_is_taken_for_idle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    """A container may hide it; it is also unknown after a moment."""
    monkeypatch.setattr(count, "_STAT", tmp_path / "stat")
    if text is not None:
        (tmp_path / "stat").write_text(text)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    now = iter([1_000.0, 1_001.0])
    assert FreeCores(lambda: next(now), lambda: 0.0).count(4) == 4
    assert FreeCores(lambda: 0.0).count(4) == 4


@pytest.mark.parametrize(("limit", "processes"), [(10 * MIB, 1), (100 * MIB, 2), (GIB, 4)])
def test_bandwidth_limit_needs_fewer(limit: int, processes: int) -> None:
    """One process reaches a low limit by itself, and each would get only a share of it."""
    assert useful_processes(Amount(100_000, 100_000 * 10 * KIB), 10 * KIB, 4, bandwidth_bytes_s=limit) == processes


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "total",
    [
        CopySettings(),
        CopySettings(objects_at_once=7, connections=5, memory_budget_bytes=130 * MIB, bandwidth_bytes_s=1_001),
        CopySettings(objects_at_once=4, connections=4, memory_budget_bytes=128 * MIB, bandwidth_bytes_s=4),
    ],
)
def test_shares_together_do_not_exceed_a_limit(
    monkeypatch: pytest.MonkeyPatch, total: CopySettings, processes: int
) -> None:
    """The user has named the most for the whole copy; each process gets some of everything."""
    monkeypatch.setattr(count, "usable_cores", lambda: 6)
    assert most_processes(processes, total) == processes
    each = share_of(total, processes)
    for name in ("objects_at_once", "connections", "most_small_objects", "fetches_at_once", "memory_budget_bytes"):
        assert 0 < processes * getattr(each, name) <= getattr(total, name), name
    if total.bandwidth_bytes_s is not None:
        assert each.bandwidth_bytes_s
        assert processes * each.bandwidth_bytes_s <= total.bandwidth_bytes_s
