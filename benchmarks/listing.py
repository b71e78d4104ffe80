"""Lists a million keys from a server that takes a tenth of a second for each page, side by side and page after page.

usage: python -m benchmarks.listing [--keys N] [--page-ms N] [--pages N]

The server answers ListObjectsV2 from memory, in the same process, so its CPU is counted too. Page after page is what
boto3's paginator, rclone and AzCopy do; of it only the first --pages pages are timed, and the rest is computed.
"""

import argparse
import resource
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

import boto3

from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source

SHAPES: Final[dict[str, Callable[[int], str]]] = {
    "numbers": lambda number: f"object-{number:09}",
    "hexadecimal": lambda number: f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
    "days": lambda number: (
        f"logs/{2000 + number // 33_600}/{1 + number // 2_800 % 12:02}/{1 + number // 100 % 28:02}/{number % 100:05}.gz"
    ),
}
_PAGE_KEYS: Final = 1_000


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys in the bucket (default: %(default)s)")
    parser.add_argument("--page-ms", type=int, default=100, help="time of one page (default: %(default)s)")
    parser.add_argument("--pages", type=int, default=30, help="pages that are timed one by one (default: %(default)s)")
    options = parser.parse_args()
    columns = ("keys", "shape", "page after page, s", "side by side, s", "times", "requests a page", "CPU us a key")
    print(f"| {' | '.join(columns)} |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for shape, key_of in SHAPES.items():
        keys = sorted(key_of(number) for number in range(options.keys))
        with _server(keys, options.page_ms / 1000) as (url, requests):
            source = _source(url)
            began = time.monotonic()
            for _ in source.list("bucket", "", max_keys=options.pages * _PAGE_KEYS):
                pass
            one_by_one = (time.monotonic() - began) * len(keys) / _PAGE_KEYS / options.pages
            requests.clear()
            began, cpu = time.monotonic(), _cpu_s()
            found = [listed.key for listed in source.list("bucket", "")]
            seconds, cpu = time.monotonic() - began, _cpu_s() - cpu
            if found != keys:
                raise SystemExit("The listing is not the bucket's.")
            source.close()
        each = len(requests) * _PAGE_KEYS / len(keys)
        us = cpu / len(keys) * 1e6
        times = one_by_one / seconds
        print(f"| {len(keys):,} | {shape} | {one_by_one:.1f} | {seconds:.1f} | {times:.1f} | {each:.2f} | {us:.0f} |")


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _source(url: str) -> S3Source:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return S3Source(session, {"endpoint_url": url, "config": botocore_config(10), "region_name": "us-east-1"})


@contextmanager
def _server(keys: list[str], page_s: float) -> Iterator[tuple[str, list[None]]]:
    requests: list[None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(None)
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            after = query.get("continuation-token") or query.get("start-after") or ""
            first = bisect_right(keys, after) if after else 0
            shown = keys[first : first + int(query.get("max-keys", _PAGE_KEYS))]
            is_truncated = first + len(shown) < len(keys)
            entries = "".join(
                f"<Contents><Key>{key}</Key><LastModified>2026-11-28T00:00:00.000Z</LastModified>"
                '<ETag>"9e107d9d372bb6826bd81d3542a419d6"</ETag><Size>10000</Size><StorageClass>STANDARD</StorageClass>'
                "</Contents>"
                for key in shown
            )
            more = f"<NextContinuationToken>{shown[-1]}</NextContinuationToken>" if is_truncated else ""
            body = (
                f"<ListBucketResult><Name>bucket</Name><Prefix></Prefix><KeyCount>{len(shown)}</KeyCount>"
                f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{more}{entries}</ListBucketResult>"
            ).encode()
            time.sleep(page_s)
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
