"""A run's state files in memory that keep the contract of ``StateFiles``; tests can remove or damage files."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from s3_to_azure.model.errors import ConditionNotMet, CorruptState
from s3_to_azure.model.objects import TaskTry
from s3_to_azure.model.ports import IsOver


class MemoryState:
    """The files of one run.

    Args:
        piece_bytes: Length of the pieces in which a file is read.
    """

    def __init__(self, *, piece_bytes: int = 4096) -> None:
        self.location = "state/_s3_to_azure/dag/run"
        self.files: dict[str, bytes] = {}
        self.reads: list[tuple[str, int, int | None]] = []
        self.deleted_before: datetime | None = None
        self._tries: dict[str, TaskTry] = {}
        self._piece_bytes = piece_bytes
        self._lock = threading.Lock()

    @contextmanager
    def write(self, name: str, *, is_new: bool = False, by: TaskTry | None = None) -> Iterator["MemoryStateWriter"]:
        writer = MemoryStateWriter()
        yield writer
        with self._lock:
            if is_new and name in self.files:
                raise ConditionNotMet(blob=name, container=self.location, code="it exists")
            earlier = self._tries.get(name)
            if by and earlier and by.is_before(earlier):
                return
            if by:
                self._tries[name] = by
            self.files[name] = b"".join(writer.pieces)

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        with self._lock:
            self.reads.append((name, start, end))
            data = self._find(name)
        if end is not None and end > len(data):
            raise CorruptState(path=f"{self.location}/{name}", detail=f"it ends before byte {end:,}")
        return data[start:end]

    def chunks(self, name: str) -> Iterator[bytes]:
        data = self._find(name)
        for start in range(0, len(data), self._piece_bytes):
            yield data[start : start + self._piece_bytes]

    def names(self, prefix: str = "") -> Iterator[str]:
        with self._lock:
            found = sorted(name for name in self.files if name.startswith(prefix))
        yield from found

    def delete(self, name: str) -> None:
        with self._lock:
            self.files.pop(name, None)

    def delete_runs_before(self, moment: datetime, *, is_over: IsOver | None = None) -> int:
        """Record the time; there are no other runs."""
        self.deleted_before = moment
        return 0

    def _find(self, name: str) -> bytes:
        if name not in self.files:
            raise CorruptState(path=f"{self.location}/{name}", detail="it is not there")
        return self.files[name]


class MemoryStateWriter:
    """A state file that is being written."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
