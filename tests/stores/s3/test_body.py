"""A body without a length ends exactly where the requested range ends."""

import http.client
import io
from typing import Any, cast

import pytest

from s3_to_azure.model.errors import UnexpectedResponse
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.stores.s3.body import S3Body
from s3_to_azure.stores.s3.headers import ResponseHeaders
from tests.fakes.memory_source import EPOCH

VERSION = ObjectVersion("bucket", "k", "e", 4, EPOCH)


def read(data: bytes, **headers: Any) -> bytes:
    """Read a body of 4 expected bytes to its end."""
    response = cast(http.client.HTTPResponse, io.BytesIO(data))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = S3Body(response, VERSION, ResponseHeaders("k", named), 4)
    buffer = bytearray(16)
    filled = 0
    with memoryview(buffer) as view:
        while count := body.readinto(view[filled : filled + 2]):
            filled += count
    return bytes(buffer[:filled])


@pytest.mark.parametrize("data", [b"", b"012", b"0123"])
def test_bytes_up_to_the_end_are_read(data: bytes) -> None:
    """A body that ends early is resumed by the caller."""
    assert read(data) == data


def test_more_bytes_are_refused() -> None:
    """They belong to no requested range."""
    with pytest.raises(UnexpectedResponse, match="more bytes"):
        read(b"01234")


def test_encoded_body_that_ends_early_is_refused_in_words() -> None:
    """Reading it again would give the same."""
    with pytest.raises(UnexpectedResponse, match="gateway"):
        read(b"012", content_encoding="gzip")


@pytest.mark.parametrize(("data", "is_longer"), [(b"0123", False), (b"01234", True)])
def test_length_beside_chunks_is_not_believed(data: bytes, *, is_longer: bool) -> None:
    """The HTTP client does not count them: a gateway that changed the body has left the length of what it received."""
    headers = {"content_length": "4", "transfer_encoding": "chunked"}
    if not is_longer:
        assert read(data, **headers) == data
        return
    with pytest.raises(UnexpectedResponse, match="more bytes"):
        read(data, **headers)
