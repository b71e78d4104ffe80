"""Azure's fetcher before Azurite, which fetches from itself only: it does Put Block From URL, with faults on demand.

It GETs the source's range, computes the CRC64 of what came, stages that by an ordinary Put Block under the caller's own
authorization, and answers 201 with ``x-ms-content-crc64``. Every other request is passed through.
"""

import base64
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, NoReturn
from urllib.parse import parse_qsl, urlsplit

from s3_to_azure.model.checksums import CRC64NVME, to_azure

CRC64: Final = "x-ms-content-crc64"
MAX_URL: Final = 2048
MAX_BLOCK: Final = 4000 << 20
DROPPED: Final = ("transfer-encoding", "content-length", "connection", "keep-alive")

Act = Literal[
    "fail", "corrupt", "lost", "lost_before", "lie", "no_crc", "delay", "timeout", "short", "garbage", "late", "wait"
]
"""What happens: ``lost`` after staging, ``lie`` with a wrong CRC64 in the answer, ``late`` staged after a lost one."""


@dataclass
class Fault:
    """What happens to some of the fetches.

    Attributes:
        act: What happens.
        start: Only to fetches of the range that begins here; None: to all.
        nth: Only to this one of all fetches that were asked for, from 1; None: to all.
        times: How often it happens.
        status: Of the refusal (``fail``).
        code: Azure's code of the refusal.
        source_status: What S3 answered, as Azure tells it.
        retry_after: Seconds, as a header.
        seconds: How long a delay lasts.
        gate: Waited for (``wait``, ``late``).
    """

    act: Act
    start: int | None = None
    nth: int | None = None
    times: int = 1
    status: int = 403
    code: str = "CannotVerifyCopySource"
    source_status: int | None = None
    retry_after: str | None = None
    seconds: float = 0.5
    gate: threading.Event = field(default_factory=threading.Event)


@dataclass
class Counts:
    """What the fetcher was asked for and did."""

    asked: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    staged: int = 0
    notes: int = 0
    passed: int = 0
    commits: int = 0
    most_at_once: int = 0
    starts: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


class Refused(Exception):
    """The fetch is refused."""

    def __init__(
        self, status: int, code: str, source_status: int | None = None, retry_after: str | None = None
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.source_status, self.retry_after = status, code, source_status, retry_after


class FetchingAzure:
    """The fetcher's state, which tests change at any time.

    Args:
        azurite: The account's URL.

    Attributes:
        if_match: What happens to ``x-ms-source-if-match``, of which it is not known what Azure does: ``ignore`` it,
            ``forward`` it to the source, ``compare`` the source's ETag, or ``reject`` the request.
        drops_bodies: Stage one byte instead of each block's bytes, and say that it was the block: for measurements.
    """

    def __init__(self, azurite: str) -> None:
        parts = urlsplit(azurite)
        self._host, self._path = parts.netloc, parts.path
        self.lock = threading.Lock()
        self.faults: list[Fault] = []
        self.if_match: Literal["ignore", "forward", "compare", "reject"] = "ignore"
        self.counts = Counts()
        self.running = 0
        handler = type("Bound", (_Handler,), {"azure": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # killed workers
        threading.Thread(target=self._server.serve_forever, name="fetching azure", daemon=True).start()

    @property
    def url(self) -> str:
        """The account's URL through the fetcher."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    @property
    def azurite(self) -> str:
        """Host and port of Azurite."""
        return self._host

    def always(self, act: Act, **values: Any) -> None:
        """Let something happen to every fetch from now on."""
        self.faults.append(Fault(act, **({"times": 1 << 30} | values)))

    def once(self, act: Act, **values: Any) -> Fault:
        """Let something happen to the next fetch that fits; return the fault."""
        fault = Fault(act, **values)
        self.faults.append(fault)
        return fault

    def fault_for(self, start: int) -> Fault | None:
        """Count a fetch, and return what happens to it."""
        with self.lock:
            self.counts.asked += 1
            self.counts.starts.append(start)
            for fault in self.faults:
                if fault.times <= 0 or fault.start not in (None, start) or fault.nth not in (None, self.counts.asked):
                    continue
                fault.times -= 1
                return fault
        return None

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fetching_azure(azurite: str) -> Iterator[FetchingAzure]:
    """Run the fetcher before Azurite."""
    azure = FetchingAzure(azurite)
    try:
        yield azure
    finally:
        azure.close()


def _refuse(fault: Fault) -> NoReturn:
    if fault.act == "timeout":
        time.sleep(fault.seconds)
        raise Refused(500, "OperationTimedOut")
    raise Refused(fault.status, fault.code, fault.source_status, fault.retry_after)


def _changed(act: Act | None, data: bytes) -> bytes:
    if act == "short":
        return data[: len(data) // 2]
    if act == "corrupt":
        damaged = bytearray(data)
        damaged[len(damaged) // 2] ^= 1
        return bytes(damaged)
    return data


def _wait(fault: Fault) -> None:
    if fault.act == "delay":
        time.sleep(fault.seconds)
    if fault.act == "wait":
        fault.gate.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    azure: FetchingAzure

    def log_message(self, *_: object) -> None:
        """Log nothing: the lines would hold SAS and URLs."""

    def do_PUT(self) -> None:
        """Fetch, or pass through."""
        query = dict(parse_qsl(urlsplit(self.path).query))
        if query.get("comp") != "block" or not self.headers.get("x-ms-copy-source"):
            self._relay()
            return
        counts, lock = self.azure.counts, self.azure.lock
        with lock:
            counts.ids.append(query["blockid"])
            self.azure.running += 1
            counts.most_at_once = max(counts.most_at_once, self.azure.running)
        try:
            self._put_block_from_url()
        except Refused as no:
            body = f'<?xml version="1.0"?><Error><Code>{no.code}</Code><Message>m</Message></Error>'.encode()
            headers = {"x-ms-error-code": no.code, "Content-Type": "application/xml"}
            if no.source_status:
                headers["x-ms-copy-source-status-code"] = str(no.source_status)
            if no.retry_after:
                headers["Retry-After"] = no.retry_after
            self._answer(no.status, headers, body)
        finally:
            with lock:
                self.azure.running -= 1

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.azure.lock:
            self.azure.counts.passed += 1
            self.azure.counts.notes += "comp=block&" in self.path and len(body) == 1
            self.azure.counts.commits += "comp=blocklist" in self.path and self.command == "PUT"
        keep = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        self._answer(*self._to_azurite(self.command, keep, body))

    do_GET = do_HEAD = do_POST = do_DELETE = _relay  # noqa: N815 - http.server's names

    # -- the fetcher ---------------------------------------------------------------------------------------------------

    def _put_block_from_url(self) -> None:
        start, end = self._checked_range()
        fault = self.azure.fault_for(start)
        act = fault.act if fault else None
        if fault and act in ("fail", "timeout"):
            _refuse(fault)
        if act == "lost_before":
            self._hang_up()
            return
        data = _changed(act, self._fetch(start, end))
        if act != "short" and len(data) != end - start:
            raise Refused(400, "InvalidSourceRange")  # a name of ours: Azure's is unknown
        crc64 = to_azure(CRC64NVME.digest(memoryview(data)))
        if self.headers.get("x-ms-source-content-crc64", crc64) != crc64:
            raise Refused(400, "Crc64Mismatch")
        if fault and act == "late":
            # The connection breaks now, and Azure goes on: the block is replaced whenever it likes.
            threading.Thread(target=self._stage_late, args=(fault.gate, data), daemon=True).start()
            self._hang_up()
            return
        if fault:
            _wait(fault)
        self._stage_and_answer(act, data, crc64)

    def _checked_range(self) -> tuple[int, int]:
        asked = self.headers
        if asked.get("Content-Length") != "0" or len(asked["x-ms-copy-source"]) > MAX_URL:
            raise Refused(400, "InvalidHeaderValue")
        if "x-ms-source-if-match" in asked and self.azure.if_match == "reject":
            raise Refused(400, "UnsupportedHeader")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.get("x-ms-source-range", ""))
        assert wanted
        start, end = int(wanted[1]), int(wanted[2]) + 1
        if end - start > MAX_BLOCK:
            raise Refused(413, "RequestBodyTooLarge")
        return start, end

    def _stage_and_answer(self, act: Act | None, data: bytes, crc64: str) -> None:
        status, headers, body = self._stage(data)
        if status != 201:
            self._answer(status, headers, body)
            return
        with self.azure.lock:
            self.azure.counts.staged += 1
        if act == "lost":
            self._hang_up()
            return
        wrong = base64.b64encode(bytes(8)).decode()
        said = {"no_crc": {}, "garbage": {CRC64: "*"}, "lie": {CRC64: wrong}}.get(act or "", {CRC64: crc64})
        self._answer(201, {**said, "x-ms-request-server-encrypted": "true"}, b"")

    def _stage_late(self, gate: threading.Event, data: bytes) -> None:
        gate.wait()
        self._stage(data)
        with self.azure.lock:
            self.azure.counts.staged += 1

    def _stage(self, data: bytes) -> tuple[int, Mapping[str, str], bytes]:
        version = self.headers.get("x-ms-version", "2021-12-02")
        keep = ("authorization", "x-ms-date")
        sent = {name: value for name, value in self.headers.items() if name.lower() in keep}
        return self._to_azurite("PUT", {**sent, "Content-Length": str(len(data)), "x-ms-version": version}, data)

    def _fetch(self, start: int, end: int) -> bytes:
        azure, url = self.azure, urlsplit(self.headers["x-ms-copy-source"])
        condition = self.headers.get("x-ms-source-if-match")
        send = {"Range": f"bytes={start}-{end - 1}"}
        if condition and azure.if_match == "forward":
            send["If-Match"] = condition
        source = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=60)
        try:
            source.request("GET", f"{url.path}?{url.query}", headers=send)
            got = source.getresponse()
            data = got.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(403, "CannotVerifyCopySource") from error
        finally:
            source.close()
        if got.status == 412:
            raise Refused(412, "SourceConditionNotMet", 412)
        if got.status in (404, 401, 409, 416):
            raise Refused(got.status, "CannotVerifyCopySource", got.status)
        if got.status in (500, 503):
            raise Refused(503, "ServerBusy", got.status, "1")
        if got.status not in (200, 206):
            raise Refused(403, "CannotVerifyCopySource", got.status)
        if condition and azure.if_match == "compare" and got.headers["ETag"] != condition:
            raise Refused(412, "SourceConditionNotMet")
        with azure.lock:
            azure.counts.fetched += 1
            azure.counts.fetched_bytes += len(data)
        return data

    # -- plumbing ------------------------------------------------------------------------------------------------------

    def _to_azurite(self, method: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        link = http.client.HTTPConnection(self.azure.azurite, timeout=120)
        try:
            link.request(method, self.path, body=body if method in ("PUT", "POST") else None, headers=dict(headers))
            got = link.getresponse()
            kept = {name: value for name, value in got.headers.items() if name.lower() not in DROPPED}
            data = got.read()
            if method == "HEAD" and "Content-Length" in got.headers:
                kept["Content-Length"] = got.headers["Content-Length"]
            return got.status, kept, data
        finally:
            link.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        own = "x-ms-client-request-id"
        try:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() != own:
                    self.send_header(name, value)
            if own in self.headers:
                self.send_header(own, self.headers[own])
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:
            # The worker was killed; Azure goes on without it.
            self.close_connection = True

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
