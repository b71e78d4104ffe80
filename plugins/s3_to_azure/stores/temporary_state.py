"""A run's state files for one process, gone with it: in memory while they are small, so that no disk is needed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Final, Self

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MIB

_PIECE_BYTES: Final = 1 * MIB
# A listing of some 200,000 objects; a larger one goes into a temporary file.
_MEMORY_BYTES: Final = 8 * MIB


class SpooledState:
    """The files of one run, without its receipts. Memory: at most 8 MiB for each of four files."""

    def __init__(self) -> None:
        """Begin with no file."""
        self.location = "(memory)"
        self._files: dict[str, SpooledTemporaryFile[bytes]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget all files."""
        for name in list(self.names()):
            self.delete(name)

    @contextmanager
    def write(self, name: str) -> Iterator["TemporaryStateWriter"]:
        """Write a file; it is there, whole, after a clean exit."""
        out = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - kept until it is deleted
        try:
            yield TemporaryStateWriter(out)
        except BaseException:
            out.close()
            raise
        self.delete(name)
        with self._lock:
            self._files[name] = out

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return bytes ``[start, end)``, or to the file's end."""
        data = self._piece(name, start, -1 if end is None else end - start)
        if end is not None and len(data) != end - start:
            raise CorruptState(path=f"{self.location}/{name}", detail=f"it ends before byte {end:,}")
        return data

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the file in pieces of 1 MiB."""
        start = 0
        while piece := self._piece(name, start, _PIECE_BYTES):
            yield piece
            start += len(piece)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of the files whose name begins so, sorted."""
        with self._lock:
            found = sorted(name for name in self._files if name.startswith(prefix))
        yield from found

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""
        with self._lock:
            file = self._files.pop(name, None)
        if file is not None:
            file.close()

    def delete_runs_before(self, moment: datetime) -> int:  # noqa: ARG002 - there are no others
        """Delete nothing: there is one run."""
        return 0

    def _piece(self, name: str, start: int, size: int) -> bytes:
        with self._lock:
            file = self._files.get(name)
            if file is None:
                raise CorruptState(path=f"{self.location}/{name}", detail="it is not there")
            file.seek(start)
            return file.read(size)


class TemporaryStateWriter:
    """A state file while it is written."""

    def __init__(self, out: IO[bytes]) -> None:
        """Keep the open file."""
        self._out = out

    def write(self, data: bytes) -> None:
        """Append the bytes."""
        self._out.write(data)
