"""Ceph and Swift end with the process that started them, and name what is missing."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import ModuleType

import pytest

from local_cloud import ceph, swift
from local_cloud.processes import ServerError
from local_cloud.servers import LocalS3
from tests.required_tools import missing_tools, require_tools

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import sys, time
from pathlib import Path
from local_cloud import ceph, swift
with {start}(Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent"),
]


def processes_of(directory: Path) -> set[int]:
    """Return the processes whose home lies in the directory, as every server's does; Swift's change their folder."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"HOME={directory}/".encode() in entry.joinpath("environ").read_bytes():
                found.add(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("module", "start", "count"), [(ceph, "ceph.ceph_rgw", 3), (swift, "swift.swift_s3", 5)], ids=["ceph", "swift"]
)
def test_servers_die_with_a_parent_killed(module: ModuleType, start: str, count: int, tmp_path: Path) -> None:
    """SIGKILL of the parent, which lets it clean up nothing, ends every server of the store."""
    require_tools(missing_tools(module.TOOLS))
    command = [sys.executable, "-c", PARENT.format(start=start), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        assert len(processes_of(tmp_path)) == count
        parent.kill()
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(tmp_path) == set()


@pytest.mark.parametrize("start", [ceph.ceph_rgw, swift.swift_s3], ids=["ceph", "swift"])
def test_a_missing_program_is_named_with_its_cure(
    start: Callable[[Path], AbstractContextManager[LocalS3]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which one, and how it is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match=r"is not installed: `make test-tools`"), start(tmp_path / "store"):
        pass
    assert processes_of(tmp_path) == set()
