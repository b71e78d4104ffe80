"""What the worker pays for bytes that Azure fetches by itself, and for a bucket that Azure cannot read.

usage: python -m benchmarks.fetched [--objects 300] [--size 1GiB] [--delay 0.5] [--runs 5]

A process plays both clouds and keeps no byte: objects are zeros, and a fetch is answered after ``--delay`` seconds.
The first table is of ``via="azure"``. The second compares ``via="worker"`` with ``via="auto"`` while every fetch is
refused, in interleaved runs: both stream all bytes.
"""

import argparse
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from azure.core.credentials import AzureSasCredential
from azure.storage.blob import BlobServiceClient

from s3_to_azure.model.checksums import CRC64NVME, to_azure, to_s3
from s3_to_azure.model.limits import MIB, TIB
from s3_to_azure.model.objects import FetchAccess, SourceChecksum
from s3_to_azure.model.options import Via
from s3_to_azure.model.settings import CopySettings, parse_size
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.pool import copy_many

_BUCKET: Final = "bucket"
_CONTAINER: Final = "container"
_ZEROS: Final = bytes(MIB)
_DATE: Final = "Fri, 02 Jan 2026 03:04:05 GMT"


@lru_cache
def _crc64(size_bytes: int) -> int:
    """Return the CRC64 of zeros."""
    assert CRC64NVME.combine is not None
    value = CRC64NVME.digest(memoryview(_ZEROS[: size_bytes % MIB]))
    one = CRC64NVME.digest(memoryview(_ZEROS))
    for _ in range(size_bytes // MIB):
        value = CRC64NVME.combine(value, one, MIB)
    return value


class _Clouds(BaseHTTPRequestHandler):
    """S3 below ``/bucket``, Azure below ``/account/container``; keys are ``<size>-<number>``."""

    protocol_version = "HTTP/1.1"
    counts: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()
    running = 0
    delay_s = 0.0
    refuses = False

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        """An object of S3, or no blob."""
        if self.path.startswith("/account"):
            self._answer("head blob", 404, {"x-ms-error-code": "BlobNotFound", "x-ms-request-id": "r"})
        elif self.path.rstrip("/").endswith(_BUCKET):
            self._answer("head bucket", 200, {"x-amz-bucket-region": "us-east-1"})
        else:
            self._answer("head object", 200, {**_headers(self._size()), "Content-Length": str(self._size())})

    def do_GET(self) -> None:
        """A range of zeros, the list of staged blocks, which is empty, or what was counted."""
        if self.path.startswith("/counts"):
            body = "\n".join(f"{name} {count}" for name, count in self.counts.items()).encode()
            with self.lock:
                self.counts.clear()
            type(self).refuses = "refuses" in self.path
            self._answer("", 200, {}, body)
        elif self.path.startswith("/account"):
            body = b'<?xml version="1.0" encoding="utf-8"?><BlockList><UncommittedBlocks/></BlockList>'
            self._answer("list blocks", 200, {"Content-Type": "application/xml"}, body)
        else:
            first, last = (int(text) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
            told = {"Content-Range": f"bytes {first}-{last}/{self._size()}", "Content-Length": str(last - first + 1)}
            self._answer("get range", 206, {**_headers(None), **told})
            left = last - first + 1
            while left:
                left -= self.wfile.write(_ZEROS[: min(left, MIB)])

    def do_PUT(self) -> None:
        """Fetch, stage or commit; nothing is kept."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, MIB)))
        if "comp=blocklist" in self.path:
            self._answer("commit", 201, {"ETag": '"0x8D"', "Last-Modified": _DATE})
        elif "x-ms-copy-source" not in self.headers:
            kind = "stage" if int(self.headers["Content-Length"]) > 1 else "note"
            self._answer(kind, 201, {})
        elif self.refuses:
            self._answer("refused fetch", 403, {"x-ms-error-code": "CannotVerifyCopySource", "x-ms-request-id": "r"})
        else:
            self._fetch()

    def _fetch(self) -> None:
        with self.lock:
            type(self).running += 1
            self.counts["most at once"] = max(self.counts["most at once"], self.running)
        time.sleep(self.delay_s)
        first, last = (int(text) for text in self.headers["x-ms-source-range"].removeprefix("bytes=").split("-"))
        with self.lock:
            type(self).running -= 1
        crc64 = to_azure(_crc64(last - first + 1))
        if self.headers.get("x-ms-source-content-crc64", crc64) != crc64:
            self._answer("refused fetch", 400, {"x-ms-error-code": "Crc64Mismatch", "x-ms-request-id": "r"})
        else:
            self._answer("fetch", 201, {"x-ms-content-crc64": crc64})

    def _size(self) -> int:
        found = re.search(r"/(\d+)-\d+", urlsplit(self.path).path)
        assert found
        return int(found[1])

    def _answer(self, kind: str, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        if kind:
            with self.lock:
                self.counts[kind] += 1
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        if "x-ms-client-request-id" in self.headers:
            self.send_header("x-ms-client-request-id", self.headers["x-ms-client-request-id"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _headers(size_bytes: int | None) -> dict[str, str]:
    """Return an object's headers; of a range S3 sends no checksum."""
    told = {"ETag": '"0123456789abcdef0123456789abcdef"', "Last-Modified": _DATE}
    if size_bytes is not None:
        told["x-amz-checksum-crc64nvme"] = to_s3(SourceChecksum("crc64nvme", _crc64(size_bytes)))
        told["x-amz-checksum-type"] = "FULL_OBJECT"
    return told


class _PublicSource(S3Source):
    """S3 that says it is a public one."""

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Return a public URL."""
        return replace(super().fetch_access(bucket), base_url=f"https://{bucket}.s3.us-east-1.amazonaws.com")


@contextmanager
def _clouds(delay_s: float) -> Iterator[str]:
    """Run both clouds in a process of their own, so that the CPU time of this one is the worker's."""
    command = [sys.executable, "-m", "benchmarks.fetched", "--serve", "--delay", str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _serve(delay_s: float) -> None:
    _Clouds.delay_s = delay_s
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Clouds)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


def _counted(url: str, *, refuses: bool = False) -> dict[str, int]:
    """Return what the clouds have counted since the last time, and say how they answer from now on."""
    with urllib.request.urlopen(f"{url}/counts{'?refuses' if refuses else ''}") as response:
        lines = (line.rpartition(" ") for line in response.read().decode().splitlines())
        return {name: int(count) for name, _, count in lines}


def _copy(url: str, *, via: Via, objects: int, size_bytes: int) -> tuple[float, float]:
    """Copy objects; return wall-clock and CPU seconds."""
    import boto3  # noqa: PLC0415 - the clouds' process needs none

    session = boto3.Session("key", "secret", region_name="us-east-1")
    options: dict[str, Any] = {"endpoint_url": url, "config": botocore_config(8)}
    client = BlobServiceClient(f"{url}/account", credential=AzureSasCredential("sig=x"))
    tasks = [CopyTask(_BUCKET, f"{size_bytes}-{n}", f"{size_bytes}-{n}") for n in range(objects)]
    with (
        closing(_PublicSource(session, options)) as source,
        closing(AzureContainer(service_client(client, connections=8), _CONTAINER)) as destination,
        open_context(source, destination, CopySettings(via=via)) as context,
    ):
        began, cpu = time.monotonic(), time.process_time()
        outcomes = list(copy_many(context, tasks))
        spent = time.monotonic() - began, time.process_time() - cpu
    assert [outcome.receipt.status for outcome in outcomes] == ["copied"] * objects, outcomes[0]
    return spent


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetched", description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=300, help="objects that Azure fetches (default: %(default)s)")
    parser.add_argument("--size", default="1GiB", help="their size (default: %(default)s)")
    parser.add_argument("--delay", type=float, default=0.5, help="seconds that a fetch takes (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each way in the comparison (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options.delay)
        return
    size_bytes = parse_size(options.size, name="size")
    with _clouds(options.delay) as url:
        _copy(url, via="azure", objects=1, size_bytes=64 * MIB)
        _counted(url)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, cpu_s = _copy(url, via="azure", objects=options.objects, size_bytes=size_bytes)
        more_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        counts = _counted(url, refuses=True)
        print(f"{options.objects} objects of {options.size}, fetched in {seconds:.1f} s")
        for name, count in sorted(counts.items()):
            per = "" if name == "most at once" else f" ({count / options.objects:.2f} for each object)"
            print(f"  {name}: {count}{per}")
        print(f"  CPU: {cpu_s:.2f} s, {cpu_s * TIB / (options.objects * size_bytes):.1f} s for each TiB")
        print(f"  RSS: {more_kib / 1024:.1f} MiB more than after one object")
        times: dict[Via, list[tuple[float, float]]] = {"worker": [], "auto": []}
        for _ in range(options.runs):
            for via, runs in times.items():
                runs.append(_copy(url, via=via, objects=16, size_bytes=128 * MIB))
        print(f"16 objects of 128 MiB while Azure refuses every fetch, medians of {options.runs}")
        for via, runs in times.items():
            wall, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"  via={via}: {wall:.2f} s, {cpu:.2f} s CPU, {[round(run[0], 2) for run in runs]}")


if __name__ == "__main__":
    main()
