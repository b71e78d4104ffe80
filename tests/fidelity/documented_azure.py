"""A server that answers as Azure documents it, for accounts that no emulator simulates."""

import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Answer:
    """The answer to one kind of request."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


EMPTY_LISTING = b"<?xml version='1.0'?><EnumerationResults><Blobs /><NextMarker /></EnumerationResults>"
NO_BLOCKS = b"<?xml version='1.0'?><BlockList><CommittedBlocks /><UncommittedBlocks /></BlockList>"
XML: Mapping[str, str] = {"Content-Type": "application/xml"}

USUAL: Mapping[str, Answer] = {
    "account": Answer(200, headers={"x-ms-is-hns-enabled": "false", "x-ms-sku-name": "Standard_LRS"}),
    "list": Answer(200, headers=XML, body=EMPTY_LISTING),
    "create container": Answer(201),
    "head": Answer(404, "BlobNotFound"),
    "block list": Answer(404, "BlobNotFound"),
    "put block": Answer(201),
    "put block list": Answer(201, headers={"ETag": '"new"', "Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT"}),
    "put blob": Answer(201, headers={"ETag": '"new"', "Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT"}),
}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict[str, Answer]] = {}
    asked: ClassVar[list[str]] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        kind = _kind(self.command, query)
        self.asked.append(kind)
        answer = self.answers[kind]
        body = answer.body
        if answer.code and self.command != "HEAD":
            body = f"<?xml version='1.0'?><Error><Code>{answer.code}</Code><Message>m</Message></Error>".encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.code:
            self.send_header("x-ms-error-code", answer.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = _answer  # noqa: N815 - the standard library's names

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


def _kind(method: str, query: Mapping[str, str]) -> str:
    if query.get("comp") == "properties":
        return "account"
    if query.get("restype") == "container" and method == "PUT":
        return "create container"
    if query.get("comp") == "list":
        return "list"
    if query.get("comp") == "blocklist":
        return "block list" if method == "GET" else "put block list"
    if query.get("comp") == "block":
        return "put block"
    return "head" if method == "HEAD" else "put blob"


@contextmanager
def documented_azure(answers: Mapping[str, Answer]) -> Iterator[tuple[str, list[str]]]:
    """Run the server; yield the account's address and the kinds of the requests that it receives."""
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"answers": {**USUAL, **answers}, "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/devstoreaccount1", asked
        finally:
            server.shutdown()
