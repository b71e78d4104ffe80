"""Hints for an address that names nothing."""

import pytest

from s3_to_azure.cli.hints import near_source
from s3_to_azure.model.errors import AccessDenied
from s3_to_azure.model.uris import S3Uri
from tests.fakes.contexts import BUCKET
from tests.fakes.memory_source import MemorySource


@pytest.fixture
def source() -> MemorySource:
    """Return a bucket with two levels."""
    source = MemorySource(BUCKET)
    for key in ("daily/2026/a.csv", "daily/2026/b.csv", "weekly/c", "top.txt"):
        source.put(BUCKET, key, b"1")
    return source


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("daily", f"There are objects below s3://{BUCKET}/daily/: end SRC in '/' to name them."),
        ("daily/2026", f"There are objects below s3://{BUCKET}/daily/2026/: end SRC in '/' to name them."),
        ("dialy/", "Did you mean daily/?"),
        ("daily/2025/", "Did you mean daily/2026/?"),
        ("daily/2026/a.cvs", "Did you mean daily/2026/a.csv or daily/2026/b.csv?"),
        ("dialy/2026/", "Did you mean daily/?"),
        ("top.text", "Did you mean top.txt?"),
        ("nothing-like-it/", ""),
    ],
)
def test_near_source(source: MemorySource, key: str, says: str) -> None:
    """The address that was meant, or nothing."""
    assert near_source(source, S3Uri(BUCKET, key)) == says


def test_empty_bucket_has_no_hint() -> None:
    """The whole bucket was named."""
    assert near_source(MemorySource(BUCKET), S3Uri(BUCKET, "")) == ""


def test_hint_that_cannot_be_had_is_left_out(source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's own result counts."""

    def refused(*_: object, **__: object) -> object:
        raise AccessDenied(service="S3", resource="bucket", code="AccessDenied", cure="Grant it.")

    monkeypatch.setattr(source, "list", refused)
    assert near_source(source, S3Uri(BUCKET, "dialy/")) == ""
