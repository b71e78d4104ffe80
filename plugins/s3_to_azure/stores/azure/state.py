"""A run's state files, stored as block blobs below ``_s3_to_azure/<dag>/<run>/`` in an Azure container."""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock

from s3_to_azure.model.checksums import CRC64NVME, to_azure
from s3_to_azure.model.errors import AZURE, ConditionNotMet, CorruptState, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.names import STATE_FOLDER, check_blob, check_container
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.download import BlobReader
from s3_to_azure.stores.azure.errors import azure_errors
from s3_to_azure.stores.azure.listing import list_page, modified_of
from s3_to_azure.stores.azure.responses import CONTENT_CRC64, blob_state, is_missing_blob, written_etag
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.http.redaction import protect_logs

T = TypeVar("T")
_CHUNK_BYTES: Final = 4 * MIB


def folder_name(text: str) -> str:
    """Encode an id as one path segment: all but letters, digits and ``_-~:`` become ``=`` and two hex digits.

    Raises:
        UsageError: The id is empty.
    """
    if not text:
        raise UsageError(detail="A run's state needs a DAG id and a run id.")
    return quote(text, safe=":").replace(".", "%2E").replace("%", "=")


def id_of(folder: str) -> str:
    """Decode a segment made by ``folder_name``."""
    return unquote(folder.replace("=", "%"))


class AzureState:
    """The state files of one run.

    Args:
        service: From ``service_client``.
        container: The state container; it must exist.
        dag_id: The DAG's id.
        run_id: The run's id.
        retrier: Retries each request. By default a stop does not interrupt its waits, so that a task that is being
            stopped still writes its receipts.
    """

    def __init__(
        self,
        service: StreamingClient,
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
        self._client = service.get_container_client(container)
        self._reader = BlobReader(service, container)
        self._retrier = retrier or Retrier(RetryBudget(), threading.Event())
        protect_logs()

    @contextmanager
    def write(self, name: str) -> Iterator["AzureStateWriter"]:
        """Write a file in blocks of 4 MiB; it becomes visible, complete, when the block exits without an error."""
        writer = AzureStateWriter(self, check_blob(self._run + name))
        yield writer
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
        blob = self._client.get_blob_client(check_blob(path))
        found = self.call("inspect", path, lambda: blob_state(blob.get_blob_properties()))
        try:
            for start in range(0, found.size_bytes, _CHUNK_BYTES):
                yield self._range(path, start, min(start + _CHUNK_BYTES, found.size_bytes), etag=found.etag)
        except ConditionNotMet:
            raise CorruptState(path=f"{self.location}/{name}", detail="it changed while it was read") from None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of the files that begin with the prefix."""
        for path, _ in self._list(self._run + prefix):
            yield path.removeprefix(self._run)

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        self._delete(self._run + name)

    def delete_runs_before(self, moment: datetime) -> int:
        """Delete the DAG's other runs whose newest file is older than this time, and return their number."""
        newest: dict[str, datetime] = {}
        for path, modified in self._list(self._dag):
            run = path[: path.index("/", len(self._dag)) + 1] if "/" in path[len(self._dag) :] else ""
            newest[run] = max(modified, newest.get(run, modified))
        old = [run for run, modified in newest.items() if run not in ("", self._run) and modified < moment]
        for run in old:
            for path in [path for path, _ in self._list(run)]:
                self._delete(path)
        return len(old)

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

    def commit(self, path: str, block_ids: list[str]) -> None:
        """Put Block List."""
        blob, blocks = self._client.get_blob_client(path), [BlobBlock(block_id) for block_id in block_ids]
        self.call("write", path, lambda: self._check_written(path, blob.commit_block_list(blocks)))

    def put(self, path: str, data: bytes) -> None:
        """Put Blob with its CRC64."""
        blob = self._client.get_blob_client(path)

        def upload() -> None:
            response = blob.upload_blob(data, length=len(data), overwrite=True, headers=_crc64(data))
            self._check_written(path, response)

        self.call("write", path, upload)

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
        """Yield the blobs' names and modification times, one page at a time."""

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

    def close(self) -> None:
        """Make the file visible."""
        if not self._staged:
            self._state.put(self._path, bytes(self._buffer))
            return
        if self._buffer:
            self._stage(bytes(self._buffer))
        self._state.commit(self._path, self._staged)

    def _stage(self, data: bytes) -> None:
        block_id = f"{self._token}{len(self._staged):06d}"
        self._state.stage(self._path, block_id, data)
        self._staged.append(block_id)


def _crc64(data: bytes) -> dict[str, str]:
    return {CONTENT_CRC64: to_azure(CRC64NVME.digest(memoryview(data)))}
