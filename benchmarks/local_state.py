"""The state files of a run in a local directory, for benchmarks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Final

from s3_to_azure.model.errors import ConditionNotMet, CorruptState
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import TaskTry
from s3_to_azure.model.ports import IsOver

_PIECE_BYTES: Final = 1 * MIB


class LocalState:
    """The files of one run.

    Args:
        directory: It is created with the first file.
    """

    def __init__(self, directory: Path) -> None:
        self.location = str(directory)
        self._directory = directory
        self._tries: dict[str, TaskTry] = {}

    @contextmanager
    def write(self, name: str, *, is_new: bool = False, by: TaskTry | None = None) -> Iterator["LocalStateWriter"]:
        """Write a file; it appears as a whole after the block, and not at all after an error."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        with unfinished.open("wb") as out:
            yield LocalStateWriter(out)
        if is_new and path.exists():
            raise ConditionNotMet(blob=name, container=self.location, code="it exists")
        earlier = self._tries.get(name)
        if by and earlier and by.is_before(earlier):
            return
        if by:
            self._tries[name] = by
        unfinished.replace(path)

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return bytes ``[start, end)``, or to the file's end."""
        with self._open(name) as file:
            file.seek(start)
            data = file.read(-1 if end is None else end - start)
        if end is not None and len(data) != end - start:
            raise CorruptState(path=f"{self.location}/{name}", detail=f"it ends before byte {end:,}")
        return data

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the file in pieces of 1 MiB."""
        with self._open(name) as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with the prefix, sorted."""
        # Only the folder in the prefix can hold such files.
        folder = self._directory / prefix.rpartition("/")[0]
        found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        for name in sorted(path.relative_to(self._directory).as_posix() for path in found):
            if name.startswith(prefix):
                yield name

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        (self._directory / name).unlink(missing_ok=True)

    def delete_runs_before(
        self,
        moment: datetime,  # noqa: ARG002 - the directory holds one run
        *,
        is_over: IsOver | None = None,  # noqa: ARG002
    ) -> int:
        """Delete nothing: the directory holds one run."""
        return 0

    def _open(self, name: str) -> BinaryIO:
        try:
            return (self._directory / name).open("rb")
        except FileNotFoundError:
            raise CorruptState(path=f"{self.location}/{name}", detail="it is not there") from None


class LocalStateWriter:
    """A state file while it is written."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, data: bytes) -> None:
        """Append the bytes."""
        self._out.write(data)
