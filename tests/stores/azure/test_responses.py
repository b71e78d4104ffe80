"""Azure's responses as our values: ETags, request ids, block ids and types."""

from typing import Any

import pytest
from azure.storage.blob import BlobProperties

from s3_to_azure.model.errors import ConnectionFailed, UnexpectedResponse
from s3_to_azure.stores.azure.responses import (
    CONTENT_CRC64,
    REQUEST_ID,
    belongs_to,
    blob_state,
    blob_type_of,
    decoded_block_id,
    new_request_id,
    written_etag,
)

DATE = "Mon, 01 Jun 2026 00:00:00 GMT"


def test_a_write_is_confirmed_by_its_etag() -> None:
    """Without quotes, as it is recorded and compared."""
    assert written_etag('"0x8D"', DATE, container="c", blob="b") == "0x8D"


@pytest.mark.parametrize(
    ("etag", "modified"), [(None, DATE), ("", DATE), ('"0x8D"', None), ("two words", DATE), ("x" * 300, DATE)]
)
def test_a_write_without_etag_and_date_is_not_confirmed(etag: str | None, modified: str | None) -> None:
    """Something else than Azure answered 201: the blob has to be looked up."""
    with pytest.raises(ConnectionFailed, match="something else than Azure"):
        written_etag(etag, modified, container="c", blob="b")


def test_request_ids_are_unique() -> None:
    """Otherwise the response to one request could pass for that to another."""
    assert new_request_id() != new_request_id()


@pytest.mark.parametrize("name", [REQUEST_ID, CONTENT_CRC64])
def test_a_response_repeats_what_its_request_had(name: str) -> None:
    """One without it is accepted, because a gateway may have removed it."""
    sent = {name: "ours", "x-ms-version": "1"}
    assert belongs_to(sent, {name: "ours"})
    assert belongs_to(sent, {})
    assert belongs_to({}, {name: "theirs"})
    assert not belongs_to(sent, {name: "theirs"})


def properties(**changes: Any) -> BlobProperties:
    """Return what the SDK makes of the headers of a HEAD."""
    return BlobProperties(**{"ETag": '"0x8D"', "Content-Length": 3, "x-ms-blob-type": "BlockBlob", **changes})


def test_a_blob_is_read_from_its_headers() -> None:
    """Its size may be 0."""
    state = blob_state(properties(**{"Content-Length": 0}))
    assert (state.etag, state.size_bytes, state.blob_type) == ("0x8D", 0, "BlockBlob")


@pytest.mark.parametrize(
    ("header", "value"),
    [("ETag", None), ("ETag", ""), ("ETag", '"a b"'), ("Content-Length", None), ("x-ms-blob-type", None)],
)
def test_a_blob_without_etag_length_or_type_is_none(header: str, value: object) -> None:
    """Absent is not zero: such a blob would differ from its object, and any type may be replaced."""
    with pytest.raises(UnexpectedResponse, match=f"no valid {header}"):
        blob_state(properties(**{header: value}))


@pytest.mark.parametrize(("listed", "expected"), [("YWJj", b"abc"), (b"YWJj", b"abc"), ("YWJ", b"YWJ"), (None, b"")])
def test_block_ids_of_other_tools_may_be_any_bytes(listed: str | bytes | None, expected: bytes) -> None:
    """One that is not base64 is kept as it is."""
    assert decoded_block_id(listed) == expected


@pytest.mark.parametrize(
    ("metadata", "size_bytes", "resource_type", "is_directory"),
    [
        ({}, 0, None, False),
        ({"hdi_isfolder": "true"}, 0, None, True),
        ({"hdi_isfolder": "true"}, 1, None, False),
        ({"hdi_isfolder": "true", "s3_etag": "e"}, 0, None, False),
        ({"hdi_isfolder": "false"}, 0, None, False),
        ({"hdi_isfolder": "true"}, 0, "file", False),
        ({}, 0, "directory", True),
        ({"s3_etag": "e"}, 5, "Directory", True),
    ],
)
def test_a_directory_is_what_azure_calls_so(
    metadata: dict[str, str], size_bytes: int, resource_type: str | None, *, is_directory: bool
) -> None:
    """Where Azure does not say, only an empty blob that is no copy of an object can be one."""
    found = blob_type_of("BlockBlob", metadata, size_bytes=size_bytes, resource_type=resource_type)
    assert found == ("directory" if is_directory else "BlockBlob")
