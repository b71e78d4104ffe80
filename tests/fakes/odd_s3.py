"""An S3 over HTTP whose responses a test changes: each one is passed to a function before it is sent."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, quote_plus, unquote_to_bytes

from local_cloud.servers import LocalS3
from s3_to_azure.stores.s3.source import S3Source
from tests.real_stores import s3_source

BUCKET: Final = "bucket"
MODIFIED: Final = "2026-01-02T03:04:05.000Z"
LAST_MODIFIED: Final = "Fri, 02 Jan 2026 03:04:05 GMT"


@dataclass(frozen=True)
class Call:
    """A request: ``list``, ``list v1``, ``head``, ``get``, or another one."""

    name: str
    key: bytes
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """A response; a body is chunked if its headers say so, and ends with the connection if they give no length."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    head: bool = False

    def without(self, *names: str) -> "Reply":
        """Return the response without these headers."""
        return replace(self, headers=tuple(item for item in self.headers if item[0].lower() not in names))

    def with_headers(self, **changes: str) -> "Reply":
        """Return the response with these headers, whose names have underscores here instead of hyphens."""
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        kept = self.without(*(name.lower() for name in named))
        return replace(kept, headers=(*kept.headers, *named.items()))

    def value(self, name: str) -> str | None:
        """Return a header's value."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)


Change = Callable[[Call, Reply], Reply]


@dataclass
class OddS3:
    """Objects by their names, and what the server was asked.

    Attributes:
        etags: ETags that are not the MD5 of the object.
        change: Changes each response.
        page_keys: The most objects on a page.
        entries: Replaces the document's entry of a name.
        checksums: Headers with an object's checksums, which a response to a GET or HEAD of the whole object has.
        parts: The sizes of the parts in which an object was uploaded.
    """

    objects: dict[bytes, bytes]
    etags: dict[bytes, str] = field(default_factory=dict)
    change: Change = lambda _call, reply: reply
    page_keys: int = 1_000
    entries: dict[bytes, str] = field(default_factory=dict)
    checksums: dict[bytes, Mapping[str, str]] = field(default_factory=dict)
    parts: dict[bytes, Sequence[int]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def etag(self, key: bytes) -> str:
        """Return the ETag in quotes."""
        return self.etags.get(key) or f'"{hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()}"'

    def reply(self, call: Call) -> Reply:
        """Return the response of an S3 that keeps the contract."""
        if call.name in ("list", "list v1"):
            return xml(200, self.listing(call.query))
        if call.name == "head bucket":
            return Reply(200, (("x-amz-bucket-region", "us-east-1"), ("Content-Length", "0")))
        if call.key not in self.objects:
            return no_such_key()
        if call.name == "tags":
            return xml(200, "<Tagging><TagSet/></Tagging>")
        if call.name == "attributes":
            return self._attributes(call.key)
        return self._object(call)

    def listing(self, query: Mapping[str, str]) -> str:
        """Return a page of ListObjectsV2."""
        prefix = query.get("prefix", "").encode("utf-8", "surrogateescape")
        names = sorted(name for name in self.objects if name.startswith(prefix))
        start = int(query.get("continuation-token", "0"))
        most = min(int(query.get("max-keys", "1000")), self.page_keys)
        end = start + most
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < len(names) else ""
        count = len(names[start:end])
        return listing_document(
            f"<Name>{BUCKET}</Name><Prefix>{quote_plus(prefix, safe='/')}</Prefix><KeyCount>{count}</KeyCount>",
            f"<MaxKeys>{most}</MaxKeys><EncodingType>url</EncodingType>",
            f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{token}",
            *(self.entry(name) for name in names[start:end]),
        )

    def entry(self, name: bytes) -> str:
        """Return the entry of an object in a listing."""
        etag = self.etag(name).replace('"', "&quot;")
        return self.entries.get(name) or (
            f"<Contents><Key>{quote_plus(name, safe='/')}</Key><LastModified>{MODIFIED}</LastModified>"
            f"<ETag>{etag}</ETag><Size>{len(self.objects[name])}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )

    def _object(self, call: Call) -> Reply:
        data, etag = self.objects[call.key], self.etag(call.key)
        headers = (("ETag", etag), ("Last-Modified", LAST_MODIFIED), ("Content-Type", "text/plain"))
        if call.headers.get("if-match", etag) != etag:
            return error(412, "PreconditionFailed")
        if "partNumber" in call.query and call.key in self.parts:
            return self._part(call, headers)
        wanted = call.headers.get("range")
        if wanted is None:
            stored = self.checksums.get(call.key, {}).items()
            return Reply(200, (*headers, *stored, ("Content-Length", str(len(data)))), data)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        if not part:
            return error(416, "InvalidRange")
        content_range = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return Reply(206, (*headers, ("Content-Range", content_range), ("Content-Length", str(len(part)))), part)

    def _part(self, call: Call, headers: tuple[tuple[str, str], ...]) -> Reply:
        sizes, number = self.parts[call.key], int(call.query["partNumber"])
        start, size = sum(sizes[: number - 1]), sizes[number - 1]
        content_range = f"bytes {start}-{start + size - 1}/{sum(sizes)}"
        of_part = (("x-amz-mp-parts-count", str(len(sizes))), ("Content-Range", content_range))
        return Reply(206, (*headers, *of_part, ("Content-Length", str(size))))

    def _attributes(self, key: bytes) -> Reply:
        if key not in self.parts:
            return error(403, "AccessDenied")
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part>"
            for number, size in enumerate(self.parts[key], start=1)
        )
        return xml(
            200,
            f"<GetObjectAttributesResponse><ETag>{self.etag(key).strip(chr(34))}</ETag><ObjectParts>"
            f"<IsTruncated>false</IsTruncated>{parts}</ObjectParts></GetObjectAttributesResponse>",
        )


def xml(status: int, document: str) -> Reply:
    """Return a response with a document."""
    body = document.encode("utf-8", "surrogateescape")
    return Reply(status, (("Content-Type", "application/xml"), ("Content-Length", str(len(body)))), body)


def error(status: int, code: str) -> Reply:
    """Return a response with S3's error document."""
    return xml(status, f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>x</Message></Error>')


def no_such_key() -> Reply:
    """Return S3's response to a request for an object that does not exist."""
    return error(404, "NoSuchKey")


def listing_document(*inner: str) -> str:
    """Return the document of a listing."""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult {space}>{"".join(inner)}</ListBucketResult>'


def call_of(method: str, target: str, headers: Mapping[str, str]) -> Call:
    """Return what a request asks for.

    Args:
        method: GET or HEAD.
        target: Path and query, percent-encoded.
        headers: By lower-case name.
    """
    path, _, asked = target.partition("?")
    query = {k: v[0] for k, v in parse_qs(asked, keep_blank_values=True, errors="surrogateescape").items()}
    _, _, key = unquote_to_bytes(path)[1:].partition(b"/")
    if not key:
        name = "head bucket" if method == "HEAD" else "list" if "list-type" in query else "list v1"
    else:
        name = next((each for each in ("attributes", "tagging") if each in query), method.lower())
    return Call({"tagging": "tags"}.get(name, name), key, query, headers)


@contextmanager
def served(s3: OddS3) -> Iterator[S3Source]:
    """Run the server on a port of its own; yield a source that reads from it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            target = self.requestline.split(" ")[1]
            call = call_of(self.command, target, {name.lower(): text for name, text in self.headers.items()})
            s3.calls.append(call)
            self._send(s3.change(call, s3.reply(call)))

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def _send(self, reply: Reply) -> None:
            lines = [f"HTTP/1.1 {reply.status} x", *(f"{name}: {text}" for name, text in reply.headers)]
            is_chunked = reply.value("transfer-encoding") == "chunked"
            if not is_chunked and self.command != "HEAD" and reply.value("content-length") != str(len(reply.body)):
                lines.append("Connection: close")
                self.close_connection = True
            body = b"" if self.command == "HEAD" else reply.body
            if is_chunked and self.command != "HEAD":
                chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                body = chunk + b"0\r\n\r\n"
            with suppress(OSError):
                self.wfile.write("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """Ignore clients that close a connection."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with closing(
            s3_source(LocalS3(f"http://127.0.0.1:{server.server_port}", "test", "test", "us-east-1"))
        ) as source:
            yield source
    finally:
        server.shutdown()
        server.server_close()
