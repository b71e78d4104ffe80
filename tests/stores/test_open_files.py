"""The limit of open files, and the settings of a copy that fit into it."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.stores import open_files
from s3_to_azure.stores.open_files import available_sockets, within_open_files

resource = pytest.importorskip("resource")


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Replace the limit by the list's only item, and the open files, which other tests' threads may close, by none."""
    limits = [1_024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limits[0], limits[0]))
    monkeypatch.setattr(open_files, "_DESCRIPTORS", (tmp_path,))
    return limits


def test_open_files_and_a_reserve_are_left_out() -> None:
    """Each further open file leaves one connection less."""
    program = (
        "import os, resource; from s3_to_azure.stores.open_files import available_sockets; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); before = available_sockets(); "
        "file = open(os.devnull); print(before, available_sockets())"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, told.stdout.split())
    assert 0 < after == before - 1 < 256 - open_files._RESERVE


def test_fewer_files_than_are_open_leave_none(limit: list[int]) -> None:
    """The number is not negative."""
    limit[0] = 3
    assert available_sockets() == 0


def test_no_limit_changes_nothing(limit: list[int]) -> None:
    """Some systems have none."""
    limit[0] = resource.RLIM_INFINITY
    settings = CopySettings(objects_at_once=500)
    assert available_sockets() is None
    assert within_open_files(settings) is settings


def test_enough_files_change_nothing(limit: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """The usual settings fit into a usual limit, and there is no warning."""
    limit[0] = 4_096
    assert within_open_files(CopySettings()) == CopySettings()
    assert caplog.messages == []


def test_few_files_lower_the_settings(limit: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the limit and both numbers."""
    limit[0] += 120 - (available_sockets() or 0)
    with caplog.at_level(logging.WARNING):
        fitting = within_open_files(CopySettings(objects_at_once=500, connections=64))
    assert (fitting.objects_at_once, fitting.connections, fitting.most_small_objects) == (10, 10, 30)
    assert "(ulimit -n) that at most 10 objects are copied at once, and 10 blocks, instead of 500 and 64" in caplog.text


@pytest.mark.parametrize(("sockets", "warns"), [(100, True), (300, False)])
def test_lower_defaults_are_told_where_they_are_felt(
    sockets: int, limit: list[int], caplog: pytest.LogCaptureFixture, *, warns: bool
) -> None:
    """The defaults are bounds that few copies reach: macOS's limit of 256 files is no reason for a warning."""
    limit[0] += sockets - (available_sockets() or 0)
    with caplog.at_level(logging.WARNING):
        assert within_open_files(CopySettings()).objects_at_once == sockets // 12
    assert bool(caplog.messages) is warns


@pytest.mark.parametrize("sockets", [12, 13, 40, 100, 1_000, 10_000])
@pytest.mark.parametrize(("objects", "connections"), [(1, 1), (8, 16), (500, 64)])
def test_connections_fit(sockets: int, objects: int, connections: int) -> None:
    """The most connections that all parts of a copy open at once are no more than there may be."""
    fitting = CopySettings(objects_at_once=objects, connections=connections).within(sockets)
    assert 1 <= fitting.objects_at_once <= objects
    assert 1 <= fitting.connections <= connections
    assert 4 * fitting.objects_at_once + 2 * fitting.connections + 2 * fitting.most_small_objects <= sockets


@pytest.mark.parametrize("sockets", [0, 11])
def test_too_few_files_for_one_object_are_an_error(sockets: int) -> None:
    """It says what to raise."""
    with pytest.raises(UsageError, match=r"leaves \d+ for connections.*ulimit -n"):
        CopySettings().within(sockets)
