"""CPU time per small object beside its copy: both listings, manifest, plan, batch, receipts, printing.

    .venv/bin/python benchmarks/plan_cost.py [--objects 100000] [--runs 3]

These are the steps of `s3-to-azure copy s3://b/p/ az://c/p/` before and after the transfers, measured one by one in
one process: the least CPU time of several runs. S3's responses are recorded pages of a bucket whose objects have
a checksum.
The plan's destination is empty; listing a destination that holds a copy of each object is a row of its own ("blobs",
recorded pages too). The state files are those of the command line. There is no network and no server.
"""

import argparse
import gc
import io
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugins"))

import boto3  # noqa: E402 - the path comes first
import requests  # noqa: E402
from azure.storage.blob import BlobServiceClient  # noqa: E402
from botocore.awsrequest import AWSPreparedRequest, AWSResponse  # noqa: E402
from requests.adapters import BaseAdapter  # noqa: E402
from urllib3 import HTTPResponse  # noqa: E402

from s3_to_azure.cli.output import ResultPrinter  # noqa: E402
from s3_to_azure.model.names import check_blob  # noqa: E402
from s3_to_azure.model.objects import ListedObject, Receipt  # noqa: E402
from s3_to_azure.model.settings import CopySettings  # noqa: E402
from s3_to_azure.planning.planner import make_plan  # noqa: E402
from s3_to_azure.runs.batch_slice import BatchSlice  # noqa: E402
from s3_to_azure.runs.prefix import prefix_plan_settings  # noqa: E402
from s3_to_azure.state.manifest import write_manifest  # noqa: E402
from s3_to_azure.state.receipts import ReceiptWriter  # noqa: E402
from s3_to_azure.stores.azure.client import service_client  # noqa: E402
from s3_to_azure.stores.azure.container import AzureContainer  # noqa: E402
from s3_to_azure.stores.s3.source import S3Source  # noqa: E402
from s3_to_azure.stores.temporary_state import TemporaryState  # noqa: E402

T = TypeVar("T")

BUCKET: Final = "benchmark"
PREFIX: Final = "warehouse/"
PAGE: Final = 1_000
BLOB_PAGE: Final = 5_000
HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>benchmark</Name><EncodingType>url</EncodingType><MaxKeys>1000</MaxKeys>"
)


def page(first: int, count: int, *, last: bool) -> bytes:
    """Return one page of the bucket's listing as S3 writes it."""
    more = "<IsTruncated>false</IsTruncated>"
    if not last:
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{first + count}</NextContinuationToken>"
    items = "".join(
        f"<Contents><Key>{PREFIX}events/2026/03/{number // 5_000:05}/part-{number:012}.parquet</Key>"
        f"<LastModified>2026-03-01T12:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number * 0x9E3779B97F4A7C15 % 2**128:032x}&quot;</ETag>"
        f"<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
        f"<Size>{8_000 + number * 7_919 % 4_000}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(first, first + count)
    )
    return f"{HEAD}{more}{items}</ListBucketResult>".encode()


def asked_for(url: str, parameter: str) -> int:
    """Return the number of the first object of the page that a URL names; 0 for the first page."""
    return int(parse_qs(urlsplit(url).query).get(parameter, ["0"])[0])


def source_of(count: int) -> S3Source:
    """Return a source whose bucket lists ``count`` objects, from memory."""
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    source = S3Source(session, {})
    pages = [page(first, min(PAGE, count - first), last=first + PAGE >= count) for first in range(0, count, PAGE)]

    class Raw:
        def __init__(self, url: str) -> None:
            self._url = url

        def stream(self) -> Iterator[bytes]:
            # As a store that cannot start after a key, so that one thread lists all pages.
            yield pages[asked_for(self._url, "continuation-token") // PAGE]

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return AWSResponse("https://s3", 200, {"Content-Type": "application/xml"}, Raw(request.url))

    source._client.meta.events.register("before-send.s3.*", answer)  # noqa: SLF001 - the last hook before the network
    return source


def blob_page(first: int, count: int, *, last: bool) -> bytes:
    """Return one page of the container's listing as Azure writes it, of blobs that this package copied."""
    items = "".join(
        f"<Blob><Name>{PREFIX}events/2026/03/{number // 5_000:05}/part-{number:012}.parquet</Name><Properties>"
        "<Creation-Time>Sun, 01 Mar 2026 13:00:00 GMT</Creation-Time>"
        "<Last-Modified>Sun, 01 Mar 2026 13:00:00 GMT</Last-Modified>"
        f"<Etag>0x8D{number:013X}</Etag><Content-Length>{8_000 + number * 7_919 % 4_000}</Content-Length>"
        "<Content-Type>application/octet-stream</Content-Type><Content-Encoding /><Content-Language /><Content-CRC64 />"
        "<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><Cache-Control /><Content-Disposition />"
        "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>"
        f"</Properties><Metadata><s3_etag>{number * 0x9E3779B97F4A7C15 % 2**128:032x}</s3_etag>"
        "<s3_last_modified>2026-03-01T12:00:00+00:00</s3_last_modified>"
        "<s3_checksum>crc64nvme:AAAAAAAAAAA=</s3_checksum><s3_verified_by>crc64nvme</s3_verified_by></Metadata>"
        "<OrMetadata /></Blob>"
        for number in range(first, first + count)
    )
    return (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://b.blob.core.windows.net/"'
        f' ContainerName="benchmark"><Prefix>{PREFIX}</Prefix><Blobs>{items}</Blobs>'
        f"<NextMarker>{'' if last else first + count}</NextMarker></EnumerationResults>"
    ).encode()


class RecordedPages(BaseAdapter):
    """Answers each request with its page instead of sending it."""

    def __init__(self, count: int) -> None:
        """Make the pages of ``count`` blobs."""
        super().__init__()
        firsts = range(0, count, BLOB_PAGE)
        self._pages = [
            blob_page(first, min(BLOB_PAGE, count - first), last=first + BLOB_PAGE >= count) for first in firsts
        ]

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        """Return the page that the request names."""
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, request.url or ""
        answer.headers["Content-Type"] = "application/xml"
        answer.raw = HTTPResponse(
            io.BytesIO(self._pages[asked_for(request.url or "", "marker") // BLOB_PAGE]),
            status=200,
            preload_content=False,
        )
        return answer

    def close(self) -> None:
        """Close nothing."""


def container_of(count: int) -> AzureContainer:
    """Return a container that lists ``count`` blobs, from memory."""
    account = {"account_name": "benchmark", "account_key": "a2V5"}
    client = service_client(
        BlobServiceClient("https://benchmark.blob.core.windows.net", credential=account), connections=1
    )
    client.http.mount("https://", RecordedPages(count))
    return AzureContainer(client, "benchmark")


class EmptyDestination:
    """A destination without blobs; a plan of small objects needs only the listing."""

    container = "benchmark"
    check_name = staticmethod(check_blob)

    def list(self, _prefix: str) -> Iterator[Any]:
        """Yield nothing."""
        return iter(())


def receipts_of(objects: list[ListedObject]) -> list[Receipt]:
    """Return the receipts of a run that copied all objects."""
    return [
        Receipt(
            bucket=BUCKET,
            key=listed.key,
            etag=listed.etag,
            size_bytes=listed.size_bytes,
            container="benchmark",
            blob=listed.key,
            status="copied",
            verified_by="crc64nvme",
            checksum="crc64nvme:AAAAAAAAAAA=",
            blocks=1,
            bytes_sent=listed.size_bytes,
            seconds=0.052,
            started_at="2026-03-01T12:00:00.000+00:00",
        )
        for listed in objects
    ]


def run(count: int) -> dict[str, float]:
    """Run each step once; return its CPU seconds."""
    spent: dict[str, float] = {}

    def timed(step: str, action: Callable[[], T]) -> T:
        began = time.process_time()
        result = action()
        spent[step] = time.process_time() - began
        return result

    objects = list(source_of(count).list(BUCKET, PREFIX))
    receipts = receipts_of(objects)
    source, container = source_of(count), container_of(count)
    # A real run holds none of these objects, so the garbage collector must not walk them.
    gc.collect()
    gc.freeze()
    with TemporaryState() as files, Path(os.devnull).open("w") as nowhere:
        timed("listing", lambda: deque(source.list(BUCKET, PREFIX), maxlen=0))
        timed("blobs", lambda: deque(container.list(PREFIX), maxlen=0))
        pointer = timed("manifest", lambda: write_manifest(Once(objects), files, bucket=BUCKET, prefix=PREFIX))
        context: Any = SimpleNamespace(settings=CopySettings())
        settings = prefix_plan_settings(context, pointer, s3_prefix=PREFIX, blob_prefix=PREFIX)
        destination: Any = EmptyDestination()
        plan = timed("plan", lambda: make_plan(files, pointer, destination, settings))

        def batch() -> None:
            for descriptor in plan.batches:
                part = BatchSlice(files, descriptor, bucket=BUCKET, s3_prefix=PREFIX, blob_prefix=PREFIX)
                part.check()
                for entry in part.entries():
                    part.task(entry)

        timed("batch", batch)

        def write() -> None:
            with ReceiptWriter(files, plan.batches[0], 1) as writer:
                for receipt in receipts:
                    writer.add(receipt)

        timed("receipts", write)

        def print_receipts() -> None:
            with ResultPrinter(json=True, out=nowhere) as printer:
                for receipt in receipts:
                    printer.print(receipt)

        timed("printing", print_receipts)
    source.close()
    container.close()
    gc.unfreeze()
    return spent


class Once:
    """An iterator that is not a generator, like the listing of a store."""

    def __init__(self, objects: list[ListedObject]) -> None:
        self._objects = iter(objects)

    def __iter__(self) -> "Once":
        """Return itself."""
        return self

    def __next__(self) -> ListedObject:
        """Return the next object."""
        return next(self._objects)


def main() -> int:
    """Measure; print one row per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args()
    runs = [run(chosen.objects) for _ in range(chosen.runs)]
    least = {step: round(min(one[step] for one in runs) / chosen.objects * 1e6, 2) for step in runs[0]}
    if chosen.json:
        print(json.dumps(least))
        return 0
    print(f"CPU microseconds per object of {chosen.objects:,} objects, least of {chosen.runs} runs")
    for step, figure in (least | {"together": round(sum(least.values()), 2)}).items():
        print(f"{step:10}{figure:>8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
