"""Temporary state files: where their bytes are, and when they end. test_state.py tests the contract of all stores."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from s3_to_azure.model.errors import CorruptState, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.stores.temporary_state import _MEMORY_BYTES, TemporaryState


def open_files() -> set[str]:
    """Return the targets of this process's file descriptors that are files without a name."""
    targets = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        # The descriptor of this iteration is closed at its end.
        with suppress(FileNotFoundError):
            targets.add(str(descriptor.readlink()))
    return {target for target in targets if target.endswith("(deleted)")}


@pytest.mark.parametrize(("size_bytes", "on_disk"), [(0, 0), (_MEMORY_BYTES, 0), (_MEMORY_BYTES + 1, 1)])
def test_only_a_large_file_uses_the_disk(size_bytes: int, on_disk: int) -> None:
    """In a temporary file without a name, which ends with the state."""
    before = open_files()
    with TemporaryState() as state:
        with state.write("manifest") as out:
            out.write(bytes(size_bytes))
        assert len(open_files() - before) == on_disk
        assert state.read("manifest") == bytes(size_bytes)
    # Files of earlier tests may have ended meanwhile.
    assert open_files() - before == set()


def test_files_end_with_the_block() -> None:
    """Also after an error in it."""
    state = TemporaryState()

    def fail() -> None:
        with state:
            with state.write("plan") as out:
                out.write(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(state.names()) == []
    with pytest.raises(CorruptState, match=r"plan.* does not exist"):
        state.read("plan")


def test_chunks_are_one_mib_each() -> None:
    """The last one is the rest."""
    with TemporaryState() as state:
        with state.write("plan") as out:
            out.write(bytes(2 * MIB + 3))
        assert [len(chunk) for chunk in state.chunks("plan")] == [MIB, MIB, 3]


def test_names_are_sorted() -> None:
    """As a service lists them, whatever the order of writing."""
    with TemporaryState() as state:
        for name in ("b", "a/2", "a/1"):
            with state.write(name) as out:
                out.write(b"x")
        assert list(state.names()) == ["a/1", "a/2", "b"]


def no_space(*_: object, **__: object) -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_manifest(state: TemporaryState, size_bytes: int) -> None:
    """Write a file of this size in pieces."""
    with state.write("manifest") as out:
        for start in range(0, size_bytes, MIB):
            out.write(bytes(min(MIB, size_bytes - start)))


# A buffered file finds a full disk when it is flushed, at the latest when its writing ends.
@pytest.mark.parametrize("failing", ["tempfile.TemporaryFile", "tempfile.SpooledTemporaryFile.flush"])
def test_full_temporary_directory_is_a_sentence(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """It names the directory's variable, and the file that was being written never appears."""
    before = open_files()
    monkeypatch.setattr(failing, no_space)
    with TemporaryState() as state:
        with pytest.raises(UsageError, match=r"No space left on device.*TMPDIR"):
            write_manifest(state, _MEMORY_BYTES + 1)
        assert list(state.names()) == []
    assert open_files() - before == set()
