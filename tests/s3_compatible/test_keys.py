"""Unusual keys on real S3-compatible stores: read, listed and copied as they are written, or accounted for."""

import http.client
import json
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from azure.storage.blob import ContainerClient
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_cloud.servers import LocalAzure
from s3_to_azure.model.errors import NameRefused
from s3_to_azure.model.names import map_blob
from tests.contracts.test_object_source import UNUSUAL_KEYS, read
from tests.s3_compatible.conftest import Store, start_copy

pytestmark = pytest.mark.slow

KEYS = [
    *UNUSUAL_KEYS,
    "k" * 1_024,
    "ü" * 512,
    "a b+c%20d%2B+ .txt",
    "x//y///z",
    "control\x01\x1f\x7f",
    "line\nend",
    "carriage\rreturn",
    "c1\x85control",
    "\u2028separator",
    "end ",
    " begin",
    "dot.",
    "back\\slash",
]
# HTTP clients send another path for these, so a store holds them only if a program wrote them byte by byte.
DOT_KEYS = ["./x", "a/./b", "a/../b", "..", "x/."]


def keys_of(store: Store) -> list[str]:
    """Return the keys that the store takes; rclone's are paths of files, with names of at most 255 bytes."""
    if not store.keeps_files:
        return KEYS
    return [
        key
        for key in KEYS
        if all(1 <= len(segment.encode()) <= 255 for segment in key.split("/"))  # no "//", no "/" at an end
    ]


def put_raw(store: Store, key: str, data: bytes) -> int:
    """Write an object under a key that HTTP clients would change; return the response's status."""
    path = f"/{store.bucket}/{quote(key, safe='/~')}"
    request = AWSRequest("PUT", f"{store.server.endpoint_url}{path}", data=data)
    credentials = Credentials(store.server.access_key, store.server.secret_key)
    S3SigV4Auth(credentials, "s3", store.server.region).add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(store.server.endpoint_url).netloc, timeout=30)
    connection.request("PUT", path, data, dict(request.headers))
    status = connection.getresponse().status
    connection.close()
    return status


def test_unusual_keys_are_found_read_and_listed(store: Store) -> None:
    """Whole, in a range, and in the listing of the bucket, which is in byte order."""
    keys = keys_of(store)
    assert len(keys) >= 20
    for key in keys:
        data = f"content of {key}".encode()
        store.client.put_object(Bucket=store.bucket, Key=key, Body=data)
        version = store.source.head(store.bucket, key)
        assert (version.key, version.size_bytes) == (key, len(data))
        assert read(store.source, version) == data
        assert read(store.source, version, 3, 9) == data[3:9]
    listed = [item.key for item in store.source.list(store.bucket, "")]
    assert sorted(listed) == sorted(keys)
    if not store.keeps_files:
        assert listed == sorted(keys, key=lambda key: key.encode())


def test_unusual_keys_are_copied_or_accounted_for(
    store: Store, azure_server: LocalAzure, container: ContainerClient, tmp_path: Path
) -> None:
    """Each key has one receipt; every blob has the bytes of its key, and a key with dot segments is refused unread."""
    keys = keys_of(store)
    for key in keys:
        store.client.put_object(Bucket=store.bucket, Key=key, Body=f"content of {key}".encode())
    dotted = [] if store.keeps_files else [key for key in DOT_KEYS if put_raw(store, key, b"unread") == 200]
    addresses = (f"s3://{store.bucket}/", f"az://{container.container_name}/")
    for status in ("copied", "unchanged"):
        process = start_copy(store, azure_server, tmp_path, *addresses, "--refused-names", "map")
        output, log = process.communicate(timeout=100)
        receipts = [json.loads(line) for line in output.split("\n") if line]
        assert Counter(receipt["key"] for receipt in receipts) == Counter([*keys, *dotted]), log
        ended = {receipt["key"]: (receipt["status"], receipt["reason"].partition(":")[0]) for receipt in receipts}
        assert {key: ended[key] for key in keys} == dict.fromkeys(keys, (status, "")), log
        assert {ended[key] for key in dotted} <= {("failed", NameRefused.reason())}, log
        assert process.returncode == (1 if dotted else 0), log
    blobs = {name: container.download_blob(name).readall() for name in container.list_blob_names()}
    assert blobs == {map_blob(key): f"content of {key}".encode() for key in keys}


def test_ceph_holds_keys_with_dot_segments(ceph_store: Store) -> None:
    """The cases above are not empty: a store that takes these keys lists them, and none of them is read."""
    assert [put_raw(ceph_store, key, b"unread") for key in DOT_KEYS] == [200] * len(DOT_KEYS)
    assert sorted(item.key for item in ceph_store.source.list(ceph_store.bucket, "")) == sorted(DOT_KEYS)
    for key in DOT_KEYS:
        with pytest.raises(NameRefused):
            ceph_store.source.head(ceph_store.bucket, key)
