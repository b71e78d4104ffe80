"""A storage account with a hierarchical namespace, as far as copies of whole objects and state files need one.

Azure documents that such an account drops empty path segments, lists its directories as blobs, and deletes only empty
ones; no emulator does.
"""

import http.server
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from local_cloud.servers import AZURITE_ACCOUNT, AZURITE_KEY, LocalAzure

_DATE = "Mon, 01 Jun 2026 00:00:00 GMT"
_METADATA = "x-ms-meta-"


@dataclass
class HierarchicalAccount:
    """What the server holds, and what it was asked.

    Attributes:
        may_ask: The identity may look up the account's kind.
        blobs: Bytes, ETag and metadata of each blob of the only container.
        directories: The directories that were made for the blobs.
        asked: How often the account's kind was looked up.
    """

    server: LocalAzure
    may_ask: bool = True
    blobs: dict[str, tuple[bytes, str, dict[str, str]]] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    asked: int = 0

    @property
    def data(self) -> dict[str, bytes]:
        """The bytes of each blob."""
        return {name: data for name, (data, _, _) in self.blobs.items()}


@contextmanager
def hierarchical_azure(*, may_ask: bool = True) -> Iterator[HierarchicalAccount]:
    """Run the account's server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/{AZURITE_ACCOUNT}"
        account = HierarchicalAccount(LocalAzure("", url, AZURITE_ACCOUNT, AZURITE_KEY), may_ask=may_ask)
        vars(server).update(account=account, etags=itertools.count(1))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield account
        finally:
            server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        operation = parse_qs(url.query).get("comp")
        account = self.server.account
        if operation == ["properties"]:
            account.asked += 1
            if not account.may_ask:
                self._answer(403, {"x-ms-error-code": "AuthorizationPermissionMismatch"})
                return
            self._answer(200, {"x-ms-is-hns-enabled": "true", "x-ms-sku-name": "Standard_LRS"})
        elif operation == ["list"]:
            prefix = parse_qs(url.query).get("prefix", [""])[0]
            # Folder by folder.
            names = sorted((*account.blobs, *account.directories), key=_path)
            names = [name for name in names if name.startswith(prefix)]
            listed = "".join(_listed(name, account.blobs.get(name)) for name in names)
            page = f"<EnumerationResults><Blobs>{listed}</Blobs><NextMarker /></EnumerationResults>"
            self._answer(200, {"Content-Type": "application/xml"}, page.encode())
        else:
            self._answer(404, {"x-ms-error-code": "BlobNotFound"})

    def do_HEAD(self) -> None:
        found = self.server.account.blobs.get(self._blob())
        if found is None:
            self._answer(404, {"x-ms-error-code": "BlobNotFound"})
            return
        data, etag, metadata = found
        named = {f"{_METADATA}{name}": value for name, value in metadata.items()}
        self._answer(200, {"ETag": f'"{etag}"', "x-ms-blob-type": "BlockBlob", "Last-Modified": _DATE, **named}, data)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        blobs, name = self.server.account.blobs, self._blob()
        expected, there = self.headers.get("If-Match"), blobs.get(name)
        if self.headers.get("If-None-Match") == "*" and there:
            self._answer(409, {"x-ms-error-code": "BlobAlreadyExists"})
        elif expected and (not there or expected.strip('"') != there[1]):
            self._answer(412, {"x-ms-error-code": "ConditionNotMet"})
        else:
            metadata = {
                name.lower().removeprefix(_METADATA): value
                for name, value in self.headers.items()
                if name.lower().startswith(_METADATA)
            }
            blobs[name] = body, f"0x{next(self.server.etags)}", metadata
            segments = _path(name)
            self.server.account.directories.update("/".join(segments[:end]) for end in range(1, len(segments)))
            self._answer(201, {"ETag": f'"{blobs[name][1]}"', "Last-Modified": _DATE})

    def do_DELETE(self) -> None:
        account, name = self.server.account, self._blob()
        if any(other.startswith(f"{name}/") for other in (*account.blobs, *account.directories)):
            self._answer(409, {"x-ms-error-code": "DirectoryIsNotEmpty"})
        elif account.blobs.pop(name, None) is None and name not in account.directories:
            self._answer(404, {"x-ms-error-code": "BlobNotFound"})
        else:
            account.directories.discard(name)
            self._answer(202, {})

    def _blob(self) -> str:
        """Return the name that the account makes of the request's."""
        _, _, _, name = unquote(urlsplit(self.path).path).split("/", 3)
        return re.sub("/+", "/", name).strip("/")

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


def _path(name: str) -> list[str]:
    return name.split("/")


def _listed(name: str, blob: tuple[bytes, str, dict[str, str]] | None) -> str:
    """Return a blob's entry, or that of a directory."""
    data, etag, metadata = blob or (b"", "0xd", {"hdi_isfolder": "true"})
    inside = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in metadata.items())
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{_DATE}</Last-Modified><Etag>{etag}</Etag>"
        f"<ResourceType>{'file' if blob else 'directory'}</ResourceType><Content-Length>{len(data)}</Content-Length>"
        f"<BlobType>BlockBlob</BlobType></Properties><Metadata>{inside}</Metadata></Blob>"
    )
