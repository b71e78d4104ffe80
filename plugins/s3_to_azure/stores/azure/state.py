"""A run's state files, stored as block blobs below ``_s3_to_azure/<dag>/<run>/`` in an Azure container."""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final, TypeVar
from weakref import finalize

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient

from s3_to_azure.model.checksums import CRC64NVME, to_azure
from s3_to_azure.model.errors import AZURE, ConditionNotMet, CorruptState
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.names import (
    REPORT_FILES,
    REPORT_NAME,
    STATE_FOLDER,
    check_blob,
    check_container,
    folder_name,
    id_of,
)
from s3_to_azure.model.objects import BlobState, TaskTry
from s3_to_azure.model.ports import IsOver
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.azure.client import StreamingClient, service_client
from s3_to_azure.stores.azure.download import BlobReader
from s3_to_azure.stores.azure.errors import azure_errors
from s3_to_azure.stores.azure.listing import list_page, modified_of
from s3_to_azure.stores.azure.responses import CONTENT_CRC64, blob_state, is_missing_blob, written_etag
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.http.redaction import protect_logs

T = TypeVar("T")
_CHUNK_BYTES: Final = 4 * MIB
_CONNECTIONS: Final = 4
# How often a file may be replaced by others while it is written.
_MOST_REPLACED: Final = 10
# Metadata of a file: which writer, or which try of a task, has written it.
_WRITER: Final = "writer"
_LISTING: Final = "listing"
_TRY: Final = "try_number"
_STARTED: Final = "started_at"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)

log = logging.getLogger(__name__)


class AzureState:
    """The state files of one run.

    Args:
        service: From ``service_client``; another client of the SDK is wrapped in one.
        container: The state container; it must exist.
        dag_id: The DAG's id.
        run_id: The run's id.
        retrier: Retries each request. By default a stop does not interrupt its waits, so that a task that is being
            stopped still writes its receipts.
    """

    def __init__(
        self,
        service: BlobServiceClient,
        container: str,
        *,
        dag_id: str,
        run_id: str,
        retrier: Retrier | None = None,
    ) -> None:
        self._container = check_container(container)
        self._dag = f"{STATE_FOLDER}/{folder_name(dag_id)}/"
        self._run = f"{self._dag}{folder_name(run_id)}/"
        self.location = f"{container}/{self._run.rstrip('/')}"
        if not isinstance(service, StreamingClient):
            service = service_client(service, connections=_CONNECTIONS)
            # Nobody else knows this client.
            finalize(self, service.close)
        self._client = service.get_container_client(container)
        self._reader = BlobReader(service, container)
        self._retrier = retrier or Retrier(RetryBudget(), threading.Event())
        protect_logs()

    @contextmanager
    def write(self, name: str, *, is_new: bool = False, by: TaskTry | None = None) -> Iterator["AzureStateWriter"]:
        """Write a file in blocks of 4 MiB; it becomes visible, complete, when the block exits without an error."""
        writer = AzureStateWriter(self, check_blob(self._run + name))
        yield writer
        if is_new:
            writer.close_new()
        elif by:
            writer.close_after(by)
        else:
            writer.close()

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return bytes ``[start, end)``, up to the end of the file by default."""
        if end is None:
            return b"".join(self.chunks(name))[start:]
        data = self._range(self._run + name, start, end)
        if len(data) != end - start:
            raise CorruptState(path=f"{self.location}/{name}", detail=f"it ends before byte {end:,}")
        return data

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the file in chunks of 4 MiB, all from the same version."""
        path = self._run + name
        found = self.written(path)
        if found is None:
            raise CorruptState(path=f"{self._container}/{path}", detail="it does not exist")
        try:
            for start in range(0, found.size_bytes, _CHUNK_BYTES):
                yield self._range(path, start, min(start + _CHUNK_BYTES, found.size_bytes), etag=found.etag)
        except ConditionNotMet:
            raise CorruptState(path=f"{self.location}/{name}", detail="it changed while it was read") from None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of the files that begin with the prefix."""
        for path, _ in self._list(self._run + prefix):
            if not path.endswith("/"):
                yield path.removeprefix(self._run)

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        self._delete(self._run + name)

    def delete_runs_before(self, moment: datetime, *, is_over: IsOver | None = None) -> int:
        """Delete the DAG's other runs that are over and whose newest file is older; return their number."""
        ages: dict[str, _RunAge] = {}
        directories: set[str] = set()
        for path, modified in self._list(self._dag):
            folder, slash, name = path.removeprefix(self._dag).partition("/")
            if path.endswith("/"):
                directories.add(folder)
            elif slash:
                ages[folder] = ages.get(folder, _RunAge()).with_file(name, modified)
        own = self._run.removeprefix(self._dag).rstrip("/")
        old = [folder for folder, age in ages.items() if folder != own and age.newest < moment]
        over = [folder for folder in old if ages[folder].is_over(is_over(id_of(folder)) if is_over else None)]
        for folder in over:
            self._delete_run(f"{self._dag}{folder}/")
            if folder in directories:
                self._delete(self._dag + folder)
        if len(over) < len(old):
            log.info("The state of %d old runs is kept, because they have not ended", len(old) - len(over))
        return len(over)

    def _delete_run(self, run: str) -> None:
        """Delete the files of a run, the report last: if this is interrupted, what is left is still that of a run.

        A hierarchical namespace has directories too, which can be deleted only once they are empty.
        """
        paths = sorted((path for path, _ in self._list(run)), reverse=True)
        for path in sorted(paths, key=lambda path: path == run + REPORT_NAME):
            self._delete(path.rstrip("/"))

    def call(self, act: str, path: str, request: Callable[[], T]) -> T:
        """Send a request, with retries.

        Args:
            act: What the request does, for the log.
            path: The blob's name.
            request: Sends the request once.

        Raises:
            CorruptState: The file does not exist.
        """

        def once() -> T:
            with azure_errors(container=self._container, blob=path):
                try:
                    return request()
                except HttpResponseError as error:
                    if is_missing_blob(error):
                        raise CorruptState(path=f"{self._container}/{path}", detail="it does not exist") from None
                    raise

        return self._retrier.call(f"{act} the state file {path!r}", once)

    def stage(self, path: str, block_id: str, data: bytes) -> None:
        """Put Block with the block's CRC64."""
        blob = self._client.get_blob_client(path)
        self.call("write", path, lambda: blob.stage_block(block_id, data, length=len(data), headers=_crc64(data)))

    def commit(self, path: str, block_ids: list[str], **options: Any) -> None:
        """Put Block List."""
        blob, blocks = self._client.get_blob_client(path), [BlobBlock(block_id) for block_id in block_ids]
        self.call("write", path, lambda: self._check_written(path, blob.commit_block_list(blocks, **options)))

    def put(self, path: str, data: bytes, **options: Any) -> None:
        """Put Blob with its CRC64."""
        blob = self._client.get_blob_client(path)

        def upload() -> None:
            response = blob.upload_blob(data, length=len(data), overwrite=True, headers=_crc64(data), **options)
            self._check_written(path, response)

        self.call("write", path, upload)

    def written(self, path: str) -> BlobState | None:
        """Return a file, with what its writer has noted about itself; None if there is none."""
        blob = self._client.get_blob_client(check_blob(path))
        try:
            return self.call("inspect", path, lambda: blob_state(blob.get_blob_properties()))
        except CorruptState:
            return None

    def _check_written(self, path: str, response: Mapping[str, Any]) -> None:
        written_etag(response.get("etag"), response.get("last_modified"), container=self._container, blob=path)

    def _range(self, path: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        found = self._retrier.call(
            f"read the state file {path!r}", lambda: self._reader.read(path, start, end, etag=etag)
        )
        if found is None:
            raise CorruptState(path=f"{self._container}/{path}", detail="it does not exist")
        return found

    def _list(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Yield the blobs' names and modification times, one page at a time; a directory's name ends in a slash."""

        def page(token: str | None) -> tuple[list[tuple[str, datetime]], str | None]:
            return self._retrier.call(
                f"list the state files {prefix!r}", lambda: list_page(self._client, prefix, token, modified_of)
            )

        return Pages(
            page,
            name_of=itemgetter(0),
            service=AZURE,
            resource=repr(self._container),
        )

    def _delete(self, path: str) -> None:
        blob = self._client.get_blob_client(check_blob(path))
        try:
            self.call("delete", path, blob.delete_blob)
        except CorruptState:
            pass


class AzureStateWriter:
    """Writes one state file: holds up to 4 MiB in memory and stages the rest under block ids of its own.

    Args:
        state: The run's files.
        path: The blob's name.
    """

    def __init__(self, state: AzureState, path: str) -> None:
        self._state = state
        self._path = path
        # Keeps the blocks of two writers of one file apart.
        self._token = secrets.token_hex(8)
        self._buffer = bytearray()
        self._staged: list[str] = []

    def write(self, data: bytes) -> None:
        """Append the bytes."""
        self._buffer += data
        while len(self._buffer) >= _CHUNK_BYTES:
            self._stage(bytes(self._buffer[:_CHUNK_BYTES]))
            del self._buffer[:_CHUNK_BYTES]

    def close(self, **options: Any) -> None:
        """Make the file visible."""
        if not self._staged:
            self._state.put(self._path, bytes(self._buffer), **options)
            return
        if self._buffer:
            self._stage(bytes(self._buffer))
            self._buffer.clear()
        self._state.commit(self._path, self._staged, **options)

    def close_new(self) -> None:
        """Make the file visible unless there is one.

        Raises:
            ConditionNotMet: Another writer's file exists.
        """
        try:
            self.close(metadata={_WRITER: self._token}, match_condition=MatchConditions.IfMissing)
        except ConditionNotMet:
            # The response to the first request may have been lost.
            written = self._state.written(self._path)
            if written is None or written.metadata.get(_WRITER) != self._token:
                raise

    def close_after(self, by: TaskTry) -> None:
        """Make the file visible unless a later try has written it."""
        noted = {_LISTING: by.listing, _TRY: str(by.number), _STARTED: by.started_at.isoformat()}
        for is_last in (*[False] * _MOST_REPLACED, True):
            condition: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
            written = self._state.written(self._path)
            if written is not None:
                other = _task_try(written.metadata)
                if other and by.is_before(other):
                    log.warning("The state file %r is kept as a later try of this task wrote it", self._path)
                    return
                condition = {"match_condition": MatchConditions.IfNotModified, "etag": written.etag}
            try:
                self.close(metadata=noted, **condition)
            except ConditionNotMet:
                # Somebody wrote it in between, or the response to the first request was lost.
                if is_last:
                    raise
            else:
                return

    def _stage(self, data: bytes) -> None:
        block_id = f"{self._token}{len(self._staged):06d}"
        self._state.stage(self._path, block_id, data)
        self._staged.append(block_id)


@dataclass(frozen=True, slots=True)
class _RunAge:
    """The times of a run's files.

    Attributes:
        newest: Of all its files.
        reported: Of its report.
        worked: Of the newest file that is not the report's.
    """

    newest: datetime = _EPOCH
    reported: datetime = _EPOCH
    worked: datetime = _EPOCH

    def with_file(self, name: str, modified: datetime) -> "_RunAge":
        """Return the times with those of one more file."""
        return _RunAge(
            max(self.newest, modified),
            max(self.reported, modified) if name == REPORT_NAME else self.reported,
            self.worked if name in REPORT_FILES else max(self.worked, modified),
        )

    def is_over(self, told: bool | None) -> bool:
        """Return whether the run is over, as told, or as its files show: its report came after all else."""
        return self.worked <= self.reported != _EPOCH if told is None else told


def _task_try(metadata: Mapping[str, str]) -> TaskTry | None:
    """Return which try wrote a file; None if it does not say so."""
    try:
        started_at = datetime.fromisoformat(metadata[_STARTED])
        found = TaskTry(metadata[_LISTING], int(metadata[_TRY]), started_at)
    except (KeyError, ValueError):
        return None
    return found if started_at.tzinfo else None


def _crc64(data: bytes) -> dict[str, str]:
    return {CONTENT_CRC64: to_azure(CRC64NVME.digest(memoryview(data)))}
