"""An Azure Blob Storage over HTTP, in memory, that keeps the contract; a test may change its responses.

It knows the requests that the shipped clients send, and no signatures.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from s3_to_azure.model.errors import (
    BlobLeased,
    BlockListRefused,
    ConditionNotMet,
    ContainerNotFound,
    CorruptedInTransit,
    ForeignBlocks,
    TransferError,
    WrongBlobType,
)
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders
from tests.fakes.memory_destination import MemoryBlob, MemoryDestination
from tests.fakes.odd_s3 import LAST_MODIFIED, Reply
from tests.fakes.wire_server import Request

ACCOUNT: Final = "account"
KEY: Final = "a2V5"
_VERSION: Final = "2026-02-06"
_CONTENT_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
)
_ERRORS: Final[Mapping[type[TransferError], tuple[int, str]]] = {
    ContainerNotFound: (404, "ContainerNotFound"),
    ConditionNotMet: (412, "ConditionNotMet"),
    BlockListRefused: (400, "InvalidBlockList"),
    CorruptedInTransit: (400, "Crc64Mismatch"),
    ForeignBlocks: (400, "InvalidBlobOrBlock"),
    BlobLeased: (412, "LeaseIdMissing"),
    WrongBlobType: (409, "InvalidBlobType"),
}


@dataclass
class OddAzure:
    """The containers by their names.

    Attributes:
        page_blobs: The most blobs on a page of a listing.
    """

    containers: dict[str, MemoryDestination] = field(default_factory=dict)
    page_blobs: int = 5_000

    def reply(self, request: Request) -> Reply:
        """Return the response of an Azure that keeps the contract."""
        try:
            reply = self._answered(request)
        except TransferError as error:
            status, code = _ERRORS[type(error)]
            reply = _error(status, str(error.attributes.get("code", code)))
        given = {"x-ms-request-id": f"{request.number}", "x-ms-version": _VERSION, "Server": "memory"}
        if (own := request.headers.get("x-ms-client-request-id")) is not None:
            given["x-ms-client-request-id"] = own
        return Reply(reply.status, (*reply.headers, *given.items()), reply.body)

    def kind(self, request: Request) -> str:
        """Return what a request is: ``put block``, ``head``, ``list`` ..."""
        comp, restype = request.query.get("comp", ""), request.query.get("restype", "")
        if (restype, comp) == ("account", "properties"):
            return "account"
        if restype == "container":
            return "list" if comp == "list" else f"{request.method.lower()} container"
        return {
            ("GET", "blocklist"): "get block list",
            ("PUT", "blocklist"): "put block list",
            ("PUT", "block"): "put block",
            ("PUT", "metadata"): "set metadata",
            ("PUT", "properties"): "set properties",
            ("PUT", ""): "put blob",
        }.get((request.method, comp), request.method.lower())

    def _answered(self, request: Request) -> Reply:
        kind = self.kind(request)
        _, container, *rest = [unquote(part) for part in request.path.removeprefix(f"/{ACCOUNT}").split("/", 2)]
        if kind == "account":
            return Reply(200, (("x-ms-sku-name", "Standard_LRS"), ("x-ms-account-kind", "StorageV2"), *_nothing()))
        if kind == "put container":
            if container in self.containers:
                return _error(409, "ContainerAlreadyExists")
            self.containers[container] = MemoryDestination(container)
            return Reply(201, (*_etag("c"), *_nothing()))
        if container not in self.containers:
            return _error(404, "ContainerNotFound")
        return self._in_container(kind, self.containers[container], rest[0] if rest else "", request)

    def _in_container(self, kind: str, held: MemoryDestination, blob: str, request: Request) -> Reply:
        if kind == "list":
            return self._listing(held, request.query)
        if kind == "get container":
            return Reply(200, (*_etag("c"), *_nothing()))
        if kind in ("put block", "put blob", "put block list"):
            return _written(kind, held, blob, request)
        if kind == "get block list":
            if blob in held.blobs or blob in held.staged:
                return _xml(200, "".join(_block_list(held, blob)))
            return _error(404, "BlobNotFound")
        return _of_blob(kind, held, blob, request) if blob in held.blobs else _error(404, "BlobNotFound")

    def _listing(self, held: MemoryDestination, query: Mapping[str, str]) -> Reply:
        names = sorted(name for name in held.blobs if name.startswith(query.get("prefix", "")))
        start = int(query.get("marker") or 0)
        most = min(int(query.get("maxresults", "5000")), self.page_blobs)
        marker = str(start + most) if start + most < len(names) else ""
        items = "".join(_listed(name, held.blobs[name]) for name in names[start : start + most])
        return _xml(
            200,
            f'<EnumerationResults ServiceEndpoint="http://a/" ContainerName="{held.container}"><Blobs>{items}</Blobs>'
            f"<NextMarker>{marker}</NextMarker></EnumerationResults>",
        )


def _written(kind: str, held: MemoryDestination, blob: str, request: Request) -> Reply:
    body, query = request.body, request.query
    if kind == "put block":
        block_id = base64.b64decode(query["blockid"]).decode("ascii")
        held.stage_block(blob, block_id, memoryview(body), _crc64(request))
        return Reply(201, (*_crc64_header(request), *_nothing()))
    contents, condition = _contents(request), _condition(held, blob, request)
    if kind == "put blob":
        etag = held.put_blob(blob, memoryview(body), _crc64(request), contents, condition)
        return Reply(201, (*_etag(etag), *_crc64_header(request), *_nothing()))
    ids = [base64.b64decode(each.text or "").decode("ascii") for each in ET.fromstring(body)]
    return Reply(201, (*_etag(held.commit(blob, ids, contents, condition)), *_nothing()))


def _of_blob(kind: str, held: MemoryDestination, blob: str, request: Request) -> Reply:
    found = held.blobs[blob]
    if kind in ("set metadata", "set properties"):
        given = _contents(request)
        contents = BlobContents(
            given.metadata if kind == "set metadata" else found.metadata,
            given.headers if kind == "set properties" else found.headers,
        )
        return Reply(200, (*_etag(held.update(blob, contents, _condition(held, blob, request))), *_nothing()))
    if kind == "delete":
        del held.blobs[blob]
        return Reply(202, _nothing())
    if request.headers.get("if-match", f'"{found.etag}"') != f'"{found.etag}"':
        return _error(412, "ConditionNotMet")
    return _read(kind, found, request)


def _xml(status: int, document: str, *more: tuple[str, str]) -> Reply:
    body = f'<?xml version="1.0" encoding="utf-8"?>{document}'.encode()
    return Reply(status, (("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *more), body)


def _error(status: int, code: str) -> Reply:
    return _xml(status, f"<Error><Code>{code}</Code><Message>m</Message></Error>", ("x-ms-error-code", code))


def _nothing() -> tuple[tuple[str, str], ...]:
    return (("Content-Length", "0"),)


def _etag(etag: str) -> tuple[tuple[str, str], ...]:
    return (("ETag", f'"{etag}"'), ("Last-Modified", LAST_MODIFIED))


def _crc64(request: Request) -> int:
    # Only checked where it is sent: the SDK's own uploads of small state files send it as well.
    return int.from_bytes(base64.b64decode(request.headers["x-ms-content-crc64"]), "little")


def _crc64_header(request: Request) -> tuple[tuple[str, str], ...]:
    return (("x-ms-content-crc64", request.headers["x-ms-content-crc64"]),)


def _contents(request: Request) -> BlobContents:
    headers = request.headers
    prefix = "x-ms-meta-"
    return BlobContents(
        {name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)},
        ContentHeaders(*(headers.get(f"x-ms-blob-{name}") for name in _CONTENT_HEADERS)),
    )


def _condition(held: MemoryDestination, blob: str, request: Request) -> Condition:
    if request.headers.get("if-none-match") == "*":
        return Condition(None)
    if "if-match" in request.headers:
        return Condition(request.headers["if-match"].strip('"'))
    # Unconditional: whatever is there fits.
    return Condition.of(held.head(blob))


def _block_list(held: MemoryDestination, blob: str) -> Iterator[str]:
    yield "<BlockList><UncommittedBlocks>"
    for name, data in held.staged.get(blob, {}).items():
        coded = base64.b64encode(name).decode("ascii")
        yield f"<Block><Name>{coded}</Name><Size>{len(data)}</Size></Block>"
    yield "</UncommittedBlocks></BlockList>"


def _listed(name: str, blob: MemoryBlob) -> str:
    properties = {
        "Last-Modified": LAST_MODIFIED,
        "Etag": blob.etag,
        "Content-Length": str(len(blob.data)),
        "Content-Type": blob.headers.content_type or "application/octet-stream",
        "BlobType": blob.blob_type,
    }
    inner = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in properties.items())
    metadata = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in blob.metadata.items())
    return f"<Blob><Name>{escape(name)}</Name><Properties>{inner}</Properties><Metadata>{metadata}</Metadata></Blob>"


def _read(kind: str, blob: MemoryBlob, request: Request) -> Reply:
    described = (
        *_etag(blob.etag),
        ("x-ms-blob-type", blob.blob_type),
        ("Content-Type", blob.headers.content_type or "application/octet-stream"),
        *((f"x-ms-meta-{name}", text) for name, text in blob.metadata.items()),
    )
    wanted = request.headers.get("x-ms-range") or request.headers.get("range")
    if kind == "head" or wanted is None:
        body = b"" if kind == "head" else blob.data
        return Reply(200, (*described, ("Content-Length", str(len(blob.data)))), body)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    part = blob.data[int(first) : int(last) + 1 if last else None]
    if not part:
        return _error(416, "InvalidRange")
    content_range = f"bytes {first}-{int(first) + len(part) - 1}/{len(blob.data)}"
    return Reply(206, (*described, ("Content-Range", content_range), ("Content-Length", str(len(part)))), part)
