"""Signatures with an account's key are those of the Azure SDK."""

import base64
from typing import Any

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.stores.azure.shared_key import SharedKeySigner

KEY = base64.b64encode(b"a key of some bytes").decode("ascii")
POLICY: Any = SharedKeyCredentialPolicy("account", KEY)  # type: ignore[no-untyped-call]  # of the SDK
SIGNER = SharedKeySigner(POLICY)

VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=12)
NAMES = st.sampled_from(
    [
        *("Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-MD5", "If-Match"),
        *("If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Accept", "Host", "Date"),
        *("x-ms-date", "x-ms-version", "x-ms-blob-type", "x-ms-blob-content-type", "x-ms-range", "x-ms-tags"),
    ]
) | st.from_regex(r"x-ms-meta-[a-z0-9_]{1,8}", fullmatch=True)
QUERIES = st.lists(st.sampled_from(["comp=block", "blockid=QQ%3D%3D", "timeout=30", "flag", "B=c"]), unique=True)


def by_the_sdk(method: str, url: str, headers: dict[str, str]) -> str:
    """Return the SDK's Authorization header."""
    request = HttpRequest(method, url, headers=headers)
    POLICY.on_request(PipelineRequest(request, PipelineContext(None)))
    return str(request.headers["Authorization"])


@given(method=st.sampled_from(["PUT", "GET"]), headers=st.dictionaries(NAMES, VALUES), query=QUERIES)
def test_signature_is_that_of_the_sdk(method: str, headers: dict[str, str], query: list[str]) -> None:
    """Whatever headers and query a request has, whose names the service sorts in an order of its own."""
    url = f"https://account.blob.core.windows.net/c/a%20%C3%A9/b{'?' if query else ''}{'&'.join(query)}"
    assert SIGNER.authorization(method, url, headers) == by_the_sdk(method, url, headers)


@pytest.mark.parametrize("length", ["0", "10"])
def test_no_length_is_signed_for_an_empty_body(length: str) -> None:
    """A length of 0 counts as none."""
    url, headers = "http://127.0.0.1:10000/account/c/b", {"Content-Length": length, "x-ms-version": "2024-01-01"}
    assert SIGNER.authorization("PUT", url, headers) == by_the_sdk("PUT", url, headers)


def test_range_is_signed() -> None:
    """The service signs the header Range, for which the SDK sends another one."""
    url, headers = "http://127.0.0.1:10000/account/c/b", {"Range": "bytes=0-9"}
    assert SIGNER.authorization("GET", url, headers) != SIGNER.authorization("GET", url, {})
