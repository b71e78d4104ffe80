"""Files that S3 has written: their MD5 tells more than what is wrong in a row."""

import hashlib
from collections.abc import Iterator
from typing import NoReturn

import pytest

from s3_to_azure.model.errors import UsageError
from s3_to_azure.planning.report_files import csv_rows, read_manifest_text, verified, wrong_row


def refuse(problem: str) -> NoReturn:
    """Raise the error of a report."""
    raise UsageError(detail=problem)


def read(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the first piece, and find fault with the second."""
    yield next(pieces)
    raise wrong_row("f", 2, "is odd")


def test_a_wrong_md5_is_told_before_a_wrong_row() -> None:
    """The rest of the file is read for it."""
    pieces = [b"a", b"b", b"c"]
    good = hashlib.md5(b"abc").hexdigest()
    for md5, text in ((good.upper(), "line 2 of its file 'f' is odd"), ("0" * 32, "its MD5 is " + good)):
        with pytest.raises(UsageError, match=text):
            list(verified(iter(pieces), read, file="f", md5=md5, refuse=refuse))


def test_rows_and_their_lines() -> None:
    """Whatever the pieces; a line break in quotes is a part of its cell."""
    text = b'a,"b\nc"\nd,e'
    pieces = [text[at : at + 1] for at in range(len(text))]
    assert list(csv_rows("f", pieces, columns=2)) == [(2, ["a", "b\nc"]), (3, ["d", "e"])]


def test_a_manifest_is_small() -> None:
    """Other objects are not read into memory."""
    assert read_manifest_text([b"a", b"b"], refuse) == b"ab"
    with pytest.raises(UsageError, match=r"is no manifest\.json: it has more than 16,777,216 bytes"):
        read_manifest_text([bytes(16 * 1024 * 1024), b"x"], refuse)
