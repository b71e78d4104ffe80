"""The files of a report that S3 has written: a manifest.json with the MD5 of each file of rows."""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, TypeVar

import msgspec

from s3_to_azure.model.errors import ObjectNotFound, UsageError
from s3_to_azure.model.limits import KIB, MIB
from s3_to_azure.model.names import changes_objects
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.planning.key_list import object_pieces

T = TypeVar("T")
Refuse = Callable[[str], NoReturn]
"""Raises UsageError with the problem."""

_MAX_MANIFEST_BYTES: Final = 16 * MIB
_MAX_LINE_BYTES: Final = 64 * KIB
_MD5_DIGITS: Final = 32


class ReportReader:
    """Reads the objects of one report; every problem is a UsageError that names the report.

    Args:
        at: The address of its ``manifest.json``.
        source: Where it is.
        retrier: Repeats requests.
        kind: What it is, for errors.
        again: What to do, for errors.

    Attributes:
        name: The report's address.
    """

    def __init__(self, at: S3Uri, source: ObjectSource, retrier: Retrier, *, kind: str, again: str) -> None:
        self.name = f"s3://{at.bucket}/{at.key}"
        self._at = at
        self._source = source
        self._retrier = retrier
        self._kind = kind
        self._again = again

    def refuse(self, problem: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(detail=f"The {self._kind} {self.name} cannot be used: {problem}. {self._again}.")

    def refuse_changing(self, bucket: str) -> None:
        """Refuse the report for an access point whose objects are not those that S3 stores."""
        if changes_objects(bucket):
            self.refuse(
                f"{bucket!r} is an access point of S3 Object Lambda, whose function may change the objects, and the "
                f"{self._kind} is of those that S3 stores"
            )

    def pieces(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of one of its objects.

        Raises:
            ObjectNotFound: There is no such report.
            UsageError: The report names an object that does not exist.
        """
        try:
            yield from object_pieces(self._source, self._retrier, bucket=self._at.bucket, key=key)
        except ObjectNotFound:
            if key == self._at.key:
                raise
            self.refuse(f"its file {key!r} does not exist")

    def decoded(self, decoder: msgspec.json.Decoder[T], text: bytes, *, of: str) -> T:
        """Return the manifest's values; ``of`` says whose manifest it should be."""
        try:
            return decoder.decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self.refuse(f"it is no manifest.json of {of} ({error})")


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
            f"its file {file!r} is not the one that S3 wrote: its MD5 is {digest.hexdigest()}, and the "
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
