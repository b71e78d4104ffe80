"""Ranges of a blob: each response is that range of that blob, or none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from local_cloud.servers import AZURITE_KEY, LocalAzure
from s3_to_azure.model.errors import (
    AccessDenied,
    ConditionNotMet,
    ConnectionFailed,
    ContainerNotFound,
    TransferError,
    UnexpectedResponse,
)
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.download import BlobReader, BlobUrls
from tests.fakes.wire_server import Request, wire_server
from tests.real_stores import azure_container

BYTES = b"0123456789"


def reply(status: int, body: bytes = b"", *headers: bytes, length: int | None = None) -> bytes:
    """Return a response."""
    size = len(body) if length is None else length
    lines = [b"HTTP/1.1 %d x" % status, *headers, b"Content-Length: %d" % size]
    return b"\r\n".join([*lines, b"", b""]) + body


def ranged(body: bytes, content_range: bytes, status: int = 206) -> bytes:
    """Return the response to a request for a range."""
    return reply(status, body, b"Content-Range: " + content_range)


@contextmanager
def reading(respond: Callable[[Request], bytes]) -> Iterator[AzureContainer]:
    """Yield a container whose every request is answered so."""
    with wire_server(lambda request: [respond(request)]) as url:
        account = LocalAzure("", f"{url}/account", "account", AZURITE_KEY)
        container = azure_container(account, "container")
        yield container
        container.close()


def reader_of(container: AzureContainer) -> BlobReader:
    """Return what reads the container's blobs."""
    return BlobReader(container._service, "container")


def test_range_is_requested_and_returned() -> None:
    """With the ETag that the blob must have, if there is one."""
    seen: list[Request] = []

    def respond(request: Request) -> bytes:
        seen.append(request)
        return ranged(BYTES[2:5], b"bytes 2-4/10")

    with reading(respond) as container:
        assert reader_of(container).read("a b", 2, 5, etag="0x1") == b"234"
        assert container.read("a b", 2, 5) == b"234"
        assert container.read("a b", 5, 5) == b""
    assert [request.target for request in seen] == ["/account/container/a%20b"] * 2
    assert [request.headers["x-ms-range"] for request in seen] == ["bytes=2-4"] * 2
    assert [request.headers.get("if-match") for request in seen] == ['"0x1"', None]
    assert all(request.headers["authorization"].startswith("SharedKey account:") for request in seen)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (ranged(b"234", b"bytes 1-3/10"), UnexpectedResponse),
        (ranged(b"234", b"bytes 2-4/*"), UnexpectedResponse),
        (ranged(b"234", b"bytes 2-4/10", status=200), UnexpectedResponse),
        (reply(206, b"234"), UnexpectedResponse),
        (reply(200, BYTES), UnexpectedResponse),
        (reply(204), UnexpectedResponse),
        (reply(304), UnexpectedResponse),
        (ranged(b"23", b"bytes 2-4/10"), ConnectionFailed),
        (ranged(b"2345", b"bytes 2-4/10"), ConnectionFailed),
        (ranged(b"23", b"bytes 2-3/10"), ConnectionFailed),
        (ranged(b"2345", b"bytes 2-5/10"), ConnectionFailed),
        (reply(206, b"234", b"Content-Range: bytes 2-4/10", b"x-ms-client-request-id: other"), ConnectionFailed),
        (reply(404), UnexpectedResponse),
        (reply(404, b"", b"x-ms-error-code: ContainerNotFound"), ContainerNotFound),
        (reply(412, b"", b"x-ms-error-code: ConditionNotMet"), ConditionNotMet),
        (reply(403, b"", b"x-ms-error-code: AuthorizationFailure"), AccessDenied),
    ],
)
def test_any_other_response_is_an_error(response: bytes, kind: type[TransferError]) -> None:
    """No byte of it is taken for the blob's."""
    with reading(lambda _: response) as container, pytest.raises(kind):
        reader_of(container).read("b", 2, 5)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (ranged(b"89", b"bytes 8-9/10"), b"89"),
        (reply(416, b"", b"x-ms-error-code: InvalidRange"), b""),
        (ranged(b"", b"bytes 8--1/0"), b""),
        (reply(404, b"", b"x-ms-error-code: BlobNotFound"), None),
    ],
    ids=["shorter", "ends before", "empty", "missing"],
)
def test_blob_that_is_shorter_or_missing_is_told_apart(response: bytes, expected: bytes | None) -> None:
    """The container accepts neither: it is asked for bytes that the blob has."""
    with reading(lambda _: response) as container:
        assert reader_of(container).read("b", 8, 12) == expected
        with pytest.raises(UnexpectedResponse, match="no such blob" if expected is None else "it ends at byte"):
            container.read("b", 8, 12)


@pytest.mark.parametrize(
    ("container_url", "expected"),
    [
        ("https://a.blob.core.windows.net/c", "https://a.blob.core.windows.net/c/x/%C3%BC%3F?"),
        ("https://h/account/c?sv=1&sig=x", "https://h/account/c/x/%C3%BC%3F?comp=block&sv=1&sig=x"),
    ],
)
def test_urls_have_the_name_once_encoded_and_the_sas(container_url: str, expected: str) -> None:
    """The query comes before the SAS."""
    query = "comp=block" if "comp" in expected else ""
    assert BlobUrls(container_url).of("x/ü?", query) == expected
