"""The files of a report that S3 has written: a manifest.json with the MD5 of each file of rows."""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, TypeVar

from s3_to_azure.model.limits import KIB, MIB

T = TypeVar("T")
Refuse = Callable[[str], NoReturn]
"""Raises UsageError with the problem."""

_MAX_MANIFEST_BYTES: Final = 16 * MIB
_MAX_LINE_BYTES: Final = 64 * KIB
_MD5_DIGITS: Final = 32


class WrongRow(Exception):
    """A row is not what S3 writes; the file's MD5, which tells more, is looked at first."""


def wrong_row(file: str, line: int, problem: str) -> WrongRow:
    """Return the error of a line."""
    return WrongRow(f"line {line:,} of its file {file!r} {problem}")


def read_manifest_text(pieces: Iterable[bytes], refuse: Refuse) -> bytes:
    """Return a manifest.json; refuse one that is too large to be one."""
    text = bytearray()
    for piece in pieces:
        text += piece
        if len(text) > _MAX_MANIFEST_BYTES:
            refuse(f"it is no manifest.json: it has more than {_MAX_MANIFEST_BYTES:,} bytes")
    return bytes(text)


def verified(
    pieces: Iterable[bytes],
    read: Callable[[Iterator[bytes]], Iterator[T]],
    *,
    file: str,
    md5: str,
    refuse: Refuse,
) -> Iterator[T]:
    """Yield what is read of a file, then refuse it if it is not the one that S3 wrote: nothing counts before the end.

    Args:
        pieces: The bytes of the file.
        read: Reads them; may raise WrongRow.
        file: The file's key, for errors.
        md5: Its MD5 as the manifest has it.
        refuse: Raises UsageError with the problem.
    """
    digest = hashlib.md5(usedforsecurity=False)

    def digested() -> Iterator[bytes]:
        for piece in pieces:
            digest.update(piece)
            yield piece

    problem = ""
    hashed = digested()
    try:
        yield from read(hashed)
    except WrongRow as error:
        problem = str(error)
    for _ in hashed:
        # The rest tells whether the file is the one that S3 wrote.
        pass
    if digest.hexdigest() != md5.lower() or len(md5) != _MD5_DIGITS:
        refuse(
            f"its file {file!r} is not the one that the job wrote: its MD5 is {digest.hexdigest()}, and the "
            f"manifest has {md5[:_MD5_DIGITS]}"
        )
    if problem:
        refuse(problem)


def csv_rows(file: str, pieces: Iterable[bytes], *, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file in UTF-8, with the number of its last line.

    Raises:
        WrongRow: It is none, or a row has another number of columns.
    """
    table = csv.reader(_lines(file, pieces), strict=True)
    while True:
        try:
            row = next(table, None)
        except (csv.Error, ValueError) as error:
            raise wrong_row(file, table.line_num, f"is no CSV in UTF-8 ({error})") from None
        if row is None:
            return
        if len(row) != columns:
            raise wrong_row(file, table.line_num, f"has {len(row)} columns instead of {columns}")
        yield table.line_num, row


def _lines(file: str, pieces: Iterable[bytes]) -> Iterator[str]:
    rest, number = b"", 0
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            number += 1
            yield line.decode() + "\n"
        if len(rest) > _MAX_LINE_BYTES:
            raise wrong_row(file, number + 1, f"has more than {_MAX_LINE_BYTES:,} bytes")
    if rest:
        yield rest.decode()
