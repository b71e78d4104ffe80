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


def test_a_directory_is_an_empty_block_blob_with_a_mark() -> None:
    """In a hierarchical namespace."""
    assert blob_type_of("BlockBlob", {"hdi_isfolder": "true"}) == "directory"
    assert blob_type_of("BlockBlob", {}) == "BlockBlob"
