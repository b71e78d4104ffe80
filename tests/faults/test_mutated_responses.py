"""S3's responses with mutated headers and documents: the right bytes and a true receipt, or a clear error."""

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import TransferError
from s3_to_azure.runs.reconcile import reconcile
from s3_to_azure.state.plan import read_plan_index
from tests.fakes.contexts import some_bytes
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.odd_s3 import Call, OddS3, Reply, served
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

OBJECTS = {
    b"empty": b"",
    b"large": some_bytes(9 * 1024**2, seed=1),
    b"no md5": some_bytes(5_000, seed=2),
    b"small": some_bytes(700, seed=3),
}
NO_MD5 = '"5f0c1f2e3d4c5b6a7988776655443322-2"'
KINDS = ["list", "head", "get"]
HEADERS = [
    "Content-Length",
    "Content-Range",
    "Content-Encoding",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Transfer-Encoding",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc64nvme",
    "x-amz-meta-name",
    "x-amz-missing-meta",
    "x-amz-mp-parts-count",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-tagging-count",
    "x-goog-hash",
    "x-goog-stored-content-encoding",
]
VALUES = [
    "",
    "0",
    "1",
    "-1",
    "9" * 25,
    "x",
    '"x"',
    'W/"x"',
    "gzip",
    "AAAAAA==",
    "bytes 0-0/1",
    "crc32c=AAAAAA==",
    "\u00e9",
]
ELEMENTS = ["Key", "ETag", "Size", "LastModified", "StorageClass", "IsTruncated", "EncodingType", "Contents"]
TEXTS = ["", "0", "-1", "9" * 25, "true", "x y", "%FF", "+", "&#1;", "<x/>", "\ufffd", "2026", "../x"]
STATUSES = [200, 204, 206, 301, 304, 400, 403, 404, 405, 412, 416, 501]
PAGES = [b"", b"404 page not found\n", b"<html/>", b"<Error><Code>NoSuchKey</Code></Error>", b"<ListBucketResult/>"]

Mutation = Callable[[Reply], Reply]


def without_header(name: str) -> Mutation:
    """Remove a header."""
    return lambda reply: reply.without(name.lower())


def with_header(name: str, value: str) -> Mutation:
    """Set a header; a chunked body has no length."""
    if name == "Transfer-Encoding":
        return lambda reply: reply.without("content-length").with_headers(Transfer_Encoding="chunked")
    return lambda reply: reply.with_headers(**{name.replace("-", "_"): value})


def with_status(status: int, body: bytes) -> Mutation:
    """Answer with another page, as a proxy does."""
    return lambda _: Reply(status, (("Content-Type", "text/html"), ("Content-Length", str(len(body)))), body)


def with_element(name: str, text: str) -> Mutation:
    """Change the first element of that name in the document."""

    def change(reply: Reply) -> Reply:
        pattern = re.compile(f"<{name}>.*?</{name}>".encode(), re.DOTALL)
        body = pattern.sub(lambda _: f"<{name}>{text}</{name}>".encode(), reply.body, count=1)
        return replace(reply, body=body).with_headers(Content_Length=str(len(body)))

    return change


def without_element(name: str) -> Mutation:
    """Remove all elements of that name from the document."""

    def change(reply: Reply) -> Reply:
        body = re.sub(f"<{name}>.*?</{name}>".encode(), b"", reply.body, flags=re.DOTALL)
        return replace(reply, body=body).with_headers(Content_Length=str(len(body)))

    return change


def with_body(change: Callable[[bytes], bytes]) -> Mutation:
    """Change the body, and its length."""

    def changed(reply: Reply) -> Reply:
        body = change(reply.body)
        return replace(reply, body=body).with_headers(Content_Length=str(len(body)))

    return changed


MUTATIONS = st.one_of(
    st.builds(without_header, st.sampled_from(HEADERS)),
    st.builds(with_header, st.sampled_from(HEADERS), st.sampled_from(VALUES)),
    st.builds(with_status, st.sampled_from(STATUSES), st.sampled_from(PAGES)),
    st.builds(with_element, st.sampled_from(ELEMENTS), st.sampled_from(TEXTS)),
    st.builds(without_element, st.sampled_from(ELEMENTS)),
    st.sampled_from([with_body(change) for change in (lambda _: b"", lambda body: body[:-1], gzip.compress)]),
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(KINDS),
    mutations=st.lists(MUTATIONS, min_size=1, max_size=2),
    keys=st.sets(st.sampled_from(sorted(OBJECTS)), min_size=1),
)
def test_mutated_response_gives_right_bytes_and_a_true_receipt_or_a_clear_error(
    kind: str, mutations: list[Mutation], keys: set[bytes]
) -> None:
    """Every listed object is accounted for, and no other exception, wrong receipt or damaged blob comes of it."""

    def change(call: Call, reply: Reply) -> Reply:
        if call.name == kind and (kind == "list" or call.key in keys):
            for mutation in mutations:
                reply = mutation(reply)
        return reply

    destination, files = MemoryDestination(), MemoryState()
    with served(OddS3(OBJECTS, {b"no md5": NO_MD5}, change)) as source:
        night = Night(source, destination, files, "bucket")
        try:
            pointer = night.make_manifest()
            report = night.report_of(pointer)
        except TransferError:
            # The listing as a whole is refused before anything is copied.
            assert not list(destination.list(""))
            return
    receipts = [account.receipt for _, account in reconcile(files, pointer, read_plan_index(files))]
    assert len(receipts) == report.listed.objects
    committed = {blob.name: blob for blob in destination.list("")}
    for receipt in receipts:
        check(receipt, committed.pop(receipt.blob, None), destination)
    assert not committed


def check(receipt: Any, blob: Any, destination: MemoryDestination) -> None:
    """Check that a receipt tells the truth about its blob."""
    if receipt.status != "copied":
        assert receipt.reason
        assert blob is None
        return
    data = OBJECTS[receipt.key.encode()]
    assert (receipt.size_bytes, blob.size_bytes) == (len(data), len(data))
    assert destination.read(receipt.blob, 0, blob.size_bytes) == data
