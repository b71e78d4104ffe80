"""A run's state files for one process: small ones in memory, large ones in temporary files, deleted at its end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Final, Self

from s3_to_azure.model.errors import ConditionNotMet, CorruptState, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import TaskTry
from s3_to_azure.model.ports import IsOver

_CHUNK_BYTES: Final = 1 * MIB
# Holds a manifest of some 200,000 objects.
_MEMORY_BYTES: Final = 8 * MIB


class TemporaryState:
    """The state files of one run, without its receipts. Memory: at most 8 MiB for each of four files."""

    def __init__(self) -> None:
        self.location = "(memory)"
        self._files: dict[str, SpooledTemporaryFile[bytes]] = {}
        self._tries: dict[str, TaskTry] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Delete all files."""
        for name in list(self.names()):
            self.delete(name)

    @contextmanager
    def write(self, name: str, *, is_new: bool = False, by: TaskTry | None = None) -> Iterator["TemporaryStateWriter"]:
        """Write a file; it becomes visible, complete, when the block exits without an error."""
        out = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - kept until the file is deleted
        try:
            yield TemporaryStateWriter(out)
            with _disk_errors():
                out.flush()
        except BaseException:
            out.close()
            raise
        with self._lock:
            before = self._files.get(name)
            earlier = self._tries.get(name)
            is_kept = before is not None and (is_new or bool(by and earlier and by.is_before(earlier)))
            if not is_kept:
                self._files[name] = out
            if by and not is_kept:
                self._tries[name] = by
        unused = out if is_kept else before
        if unused is not None:
            unused.close()
        if is_kept and is_new:
            raise ConditionNotMet(blob=name, container=self.location, code="it exists")

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return bytes ``[start, end)``, up to the end of the file by default."""
        data = self._range(name, start, -1 if end is None else end - start)
        if end is not None and len(data) != end - start:
            raise CorruptState(path=f"{self.location}/{name}", detail=f"it ends before byte {end:,}")
        return data

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the file in chunks of 1 MiB."""
        start = 0
        while chunk := self._range(name, start, _CHUNK_BYTES):
            yield chunk
            start += len(chunk)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of the files that begin with the prefix, sorted."""
        with self._lock:
            names = sorted(name for name in self._files if name.startswith(prefix))
        yield from names

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        with self._lock:
            file = self._files.pop(name, None)
        if file is not None:
            file.close()

    def delete_runs_before(
        self,
        moment: datetime,  # noqa: ARG002 - the port's signature
        *,
        is_over: IsOver | None = None,  # noqa: ARG002
    ) -> int:
        """Delete nothing: there is only one run."""
        return 0

    def _range(self, name: str, start: int, size: int) -> bytes:
        with self._lock:
            file = self._files.get(name)
            if file is None:
                raise CorruptState(path=f"{self.location}/{name}", detail="it does not exist")
            file.seek(start)
            return file.read(size)


class TemporaryStateWriter:
    """Writes one state file."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, data: bytes) -> None:
        """Append the bytes.

        Raises:
            UsageError: The temporary directory cannot hold them.
        """
        with _disk_errors():
            self._out.write(data)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            detail=f"The listing is too long for memory, and temporary files cannot hold it: {error.strerror}. "
            "They take some 50 bytes for each object, in the directory that TMPDIR names, or else in /tmp or /var/tmp. "
            "Free space there, or set TMPDIR to a directory that is writable and has the space."
        ) from None
