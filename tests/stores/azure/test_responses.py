"""Azure's responses as our values: ETags, request ids, block ids and types."""

import pytest
import requests

from s3_to_azure.model.errors import ConnectionFailed
from s3_to_azure.stores.azure.responses import (
    blob_type_of,
    check_request_id,
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


def test_request_ids_are_unique_and_compared() -> None:
    """A response without one is accepted, because a gateway may have removed it."""
    sent = new_request_id()
    assert sent != new_request_id()
    check_request_id(sent, sent)
    check_request_id(sent, None)
    with pytest.raises(requests.ConnectionError, match="another request"):
        check_request_id(sent, new_request_id())


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
