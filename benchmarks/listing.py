"""Lists a million keys from a server that takes a tenth of a second for each page; peers list from the same server.

usage: python -m benchmarks.listing [--keys N] [--page-ms N] [--pages N] [--shape NAME] [--plan]

The server is a process of its own and answers ListObjectsV2 from prepared entries. The peers list page after page:
boto3's paginator, and rclone. They list the first --pages pages only, and their time for the whole bucket is computed.

With --plan, `s3-to-azure plan` compares the bucket with a container that holds a copy of each object, for a tenth of
the keys and for all of them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import boto3

from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source

ROOT: Final = Path(__file__).resolve().parents[1]
SHAPES: Final[dict[str, Callable[[int], str]]] = {
    "numbers": lambda number: f"object-{number:09}",
    "hexadecimal": lambda number: f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
    "days": lambda number: (
        f"logs/{2000 + number // 33_600}/{1 + number // 2_800 % 12:02}/{1 + number // 100 % 28:02}/{number % 100:05}.gz"
    ),
}
_PAGE_KEYS: Final = 1_000
# The bucket, and one that holds its first pages.
_BUCKET: Final = "bucket"
_PART: Final = "part"
_ACCOUNT: Final = "account"
_CONTAINER: Final = "container"
_PAGE_BLOBS: Final = 5_000


class Measured(NamedTuple):
    """What a listing took."""

    seconds: float
    cpu_s: float
    requests: int


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys in the bucket (default: %(default)s)")
    parser.add_argument("--page-ms", type=int, default=100, help="time of one page (default: %(default)s)")
    parser.add_argument("--pages", type=int, default=30, help="pages that the peers list (default: %(default)s)")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="only this kind of keys")
    parser.add_argument("--plan", action="store_true", help="plan a copy instead, and print its CPU and memory")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    if options.plan:
        _plan(options)
        return
    print("| keys | shape | lister | s | keys/s | times the fastest peer | CPU us a key | requests a page |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for shape in options.shape or SHAPES:
        with _server(options, shape) as url:
            part = min(options.keys, options.pages * _PAGE_KEYS)
            rows = [
                (name, _times(_measured(url, lister), options.keys / part))
                for name, lister in (
                    ("boto3's paginator", lambda: _list_by_boto3(url)),
                    ("rclone", lambda: _list_by_rclone(url)),
                )
            ]
            rows.append(("s3-to-azure", _measured(url, lambda: _list_by_us(url, options.keys))))
        fastest = min(took.seconds for _, took in rows[:-1])
        for name, took in rows:
            print(
                f"| {options.keys:,} | {shape} | {name} | {took.seconds:.1f} | {options.keys / took.seconds:,.0f} "
                f"| {fastest / took.seconds:.1f} | {took.cpu_s / options.keys * 1e6:.1f} "
                f"| {took.requests * _PAGE_KEYS / options.keys:.2f} |",
                flush=True,
            )


def _times(part: Measured, factor: float) -> Measured:
    return Measured(part.seconds * factor, part.cpu_s * factor, round(part.requests * factor))


def _measured(url: str, lister: Callable[[], object]) -> Measured:
    _requests(url)
    began, cpu = time.monotonic(), _cpu_s()
    lister()
    return Measured(time.monotonic() - began, _cpu_s() - cpu, _requests(url))


def _cpu_s() -> float:
    # The server, too, is a child, but it has not ended: its CPU is not counted.
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _requests(url: str) -> int:
    """Return the server's requests since the last call."""
    with urlopen(f"{url}/requests") as response:
        return int(response.read())


# -- the listers -----------------------------------------------------------------------------------------------------


def _list_by_us(url: str, keys: int) -> None:
    source = _source(url)
    last, count = "", 0
    for listed in source.list(_BUCKET, ""):
        if listed.key <= last:
            raise SystemExit(f"{listed.key!r} comes after {last!r}.")
        last = listed.key
        count += 1
    source.close()
    if count != keys:
        raise SystemExit(f"{count:,} keys were listed instead of {keys:,}.")


def _list_by_boto3(url: str) -> None:
    client = _session().client("s3", endpoint_url=url)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=_PART):
        for item in page["Contents"]:
            item["Key"]


def _list_by_rclone(url: str) -> None:
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": url,
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "test",
        "REGION": "us-east-1",
        "LIST_URL_ENCODE": "false",
        "LIST_VERSION": "2",
    }
    environment = os.environ | {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in settings.items()}
    with TemporaryDirectory() as directory:
        environment["RCLONE_CONFIG"] = f"{directory}/none.conf"
        Path(environment["RCLONE_CONFIG"]).touch()
        command = [str(ROOT / ".venv-cloud/bin/rclone"), "lsf", "--recursive", "--files-only", f"bench:{_PART}"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def _session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")


def _source(url: str) -> S3Source:
    return S3Source(_session(), {"endpoint_url": url, "config": botocore_config(10), "region_name": "us-east-1"})


# -- a plan ----------------------------------------------------------------------------------------------------------


def _plan(options: argparse.Namespace) -> None:
    print("| keys and blobs | shape | s | CPU s | peak MiB | S3 and Azure pages |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for shape in options.shape or SHAPES:
        for keys in (options.keys // 10, options.keys):
            with _server(argparse.Namespace(**{**vars(options), "keys": keys}), shape) as url:
                _requests(url)
                began = time.monotonic()
                summary, usage = _run_plan(url)
                seconds, requests = time.monotonic() - began, _requests(url)
            if (summary["listed"]["objects"], summary["unchanged"]["objects"]) != (keys, keys):
                raise SystemExit(f"The plan is not that of {keys:,} copied objects: {summary}")
            print(
                f"| {keys:,} | {shape} | {seconds:.1f} | {usage.ru_utime + usage.ru_stime:.1f} "
                f"| {usage.ru_maxrss / 1024:.0f} | {requests:,} |",
                flush=True,
            )


def _run_plan(url: str) -> tuple[dict[str, Any], resource.struct_rusage]:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AZURE_STORAGE_CONNECTION_STRING": (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey=a2V5;BlobEndpoint={url}/{_ACCOUNT};"
        ),
    }
    command = [sys.executable, "-m", "s3_to_azure", "plan", f"s3://{_BUCKET}/", f"az://{_CONTAINER}/", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("The plan failed.")
    return json.loads(text), usage


# -- the server ------------------------------------------------------------------------------------------------------


@contextmanager
def _server(options: argparse.Namespace, shape: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.listing", "--serve", "--shape", shape]
    command += [f"--keys={options.keys}", f"--page-ms={options.page_ms}", f"--pages={options.pages}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _etag(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"


def _blobs(keys: list[str], query: dict[str, str]) -> list[bytes]:
    """Return the pieces of a page of List Blobs: blobs that this package copied from the keys."""
    first = int(query["marker"]) if query.get("marker") else bisect_left(keys, query.get("startFrom", ""))
    stop = min(first + _PAGE_BLOBS, len(keys))
    blobs = (
        f"<Blob><Name>{keys[number]}</Name><Properties><Creation-Time>Sat, 28 Nov 2026 00:00:00 GMT</Creation-Time>"
        f"<Last-Modified>Sat, 28 Nov 2026 00:00:00 GMT</Last-Modified><Etag>0x8D{number:013X}</Etag>"
        "<Content-Length>10000</Content-Length><Content-Type>application/octet-stream</Content-Type>"
        "<Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5 /><Cache-Control />"
        "<Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
        "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
        "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>"
        f"<Metadata><s3_etag>{_etag(number)}</s3_etag>"
        "<s3_last_modified>2026-11-28T00:00:00+00:00</s3_last_modified>"
        "<s3_checksum>crc64nvme:AAAAAAAAAAA=</s3_checksum><s3_verified_by>crc64nvme</s3_verified_by></Metadata>"
        "<OrMetadata /></Blob>"
        for number in range(first, stop)
    )
    marker = f"<NextMarker>{stop}</NextMarker>" if stop < len(keys) else "<NextMarker />"
    text = (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{_CONTAINER}">'
        f"<Blobs>{''.join(blobs)}</Blobs>{marker}</EnumerationResults>"
    )
    return [text.encode()]


class _Bucket:
    """Keys, and the entries of all of them as one text."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        entries = [_entry(key, _etag(number)) for number, key in enumerate(keys)]
        self._starts = [0, *accumulate(map(len, entries))]
        self._text = b"".join(entries)

    def page(self, query: dict[str, str]) -> list[bytes]:
        """Return the pieces of a page's document."""
        after = query.get("continuation-token") or query.get("start-after") or ""
        first = bisect_right(self.keys, after) if after else 0
        stop = min(first + int(query.get("max-keys", _PAGE_KEYS)), len(self.keys))
        token = self.keys[stop - 1] if stop < len(self.keys) else ""
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix></Prefix><KeyCount>{stop - first}</KeyCount>"
            f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}"
        )
        return [head.encode(), self._text[self._starts[first] : self._starts[stop]], b"</ListBucketResult>"]


def _entry(key: str, etag: str) -> bytes:
    # As S3 shows an object: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-28T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        "<ChecksumType>FULL_OBJECT</ChecksumType><Size>10000</Size><StorageClass>STANDARD</StorageClass></Contents>"
    ).encode()


def serve(options: argparse.Namespace) -> None:
    """Serve the keys of one shape, print the address, and run until killed."""
    keys = sorted(map(SHAPES[options.shape[0]], range(options.keys)))
    buckets = {_BUCKET: _Bucket(keys), _PART: _Bucket(keys[: options.pages * _PAGE_KEYS])}
    requests: list[None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/requests":
                self._answer([str(len(requests)).encode()])
                requests.clear()
                return
            requests.append(None)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            began = time.monotonic()
            name = address.path.strip("/")
            pieces = _blobs(keys, query) if name.startswith(_ACCOUNT) else buckets[name].page(query)
            time.sleep(max(0.0, options.page_ms / 1000 - (time.monotonic() - began)))
            self._answer(pieces)

        def do_HEAD(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-amz-bucket-region: us-east-1\r\nContent-Length: 0\r\n\r\n")

        def _answer(self, pieces: list[bytes]) -> None:
            length = sum(map(len, pieces))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n"
            self.wfile.write(b"".join([head.encode(), *pieces]))

        def parse_request(self) -> bool:
            """Read the request line; the headers are passed over."""
            line: bytes = self.raw_requestline  # type: ignore[attr-defined]
            self.command, self.path, _ = line.decode("ascii").split(" ", 2)
            self.close_connection = False
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            return True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
