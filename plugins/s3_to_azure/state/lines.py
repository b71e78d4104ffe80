"""JSON lines in gzip members, the form of manifests, plans and receipts; each line is validated when it is read.

A ``msgspec.Struct`` describes the fields of a line: one C function reads a line and checks the type and range of every
field, in a tenth of the time that Python takes. The first line is a header with the format version (``formats``).
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta

from s3_to_azure.model.errors import CorruptState, UnsupportedStateFormat
from s3_to_azure.model.limits import KIB, MAX_LISTED_KEY_CHARACTERS, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.ports import StateWriter
from s3_to_azure.state.formats import has_version, with_version, without_values

# A character takes up to 6 bytes in JSON; a receipt holds two names and a sentence, a line of a listing one name.
MAX_LINE_BYTES: Final = 64 * KIB
Key = Annotated[str, Meta(min_length=1, max_length=MAX_LISTED_KEY_CHARACTERS)]
ETagText = Annotated[str, Meta(min_length=1, max_length=256)]
Size = Annotated[int, Meta(ge=0, le=MAX_OBJECT_BYTES)]
_FED_BYTES: Final = 16 * KIB
_PIECE_BYTES: Final = 256 * KIB
# A file has at most twice the bytes of its lines and this: then no line is as short as the gzip member around it.
_MAX_OVERHEAD_BYTES: Final = 1 * MIB
_GZIP: Final = 31
_LEVEL: Final = 3
_ENCODE: Final = msgspec.json.Encoder().encode
HEADER: Final = _ENCODE(with_version({})) + b"\n"

Line = TypeVar("Line", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Member:
    """The place of a gzip member in its file: ``length`` bytes from ``offset``."""

    offset: int
    length: int
    sha256: str


class LinesWriter:
    """Writes JSON lines into a state file as consecutive gzip members.

    The same lines give the same bytes: the members hold no time and no name.

    Args:
        out: The open file, at its beginning.
        header: The first line; empty for a file that only other programs read.
        header_in_each_member: Repeat the header, for members that are read alone.
    """

    def __init__(self, out: StateWriter, *, header: bytes = HEADER, header_in_each_member: bool = False) -> None:
        self._out = out
        self._written = 0
        self._whole = sha256()
        self._waiting = bytearray()
        self._member_header = header if header_in_each_member else b""
        self._begin()
        self._waiting[:] = header

    def add(self, line: object) -> None:
        """Append a ``msgspec.Struct``, or a dataclass of texts and numbers, as one line."""
        self._waiting += as_json(line)
        self._waiting += b"\n"
        if len(self._waiting) >= _FED_BYTES:
            self._compress()

    def end_member(self) -> Member:
        """End the member and begin the next one; return the place of the ended member."""
        self._compress()
        self._emit(self._gzip.flush())
        member = Member(self._offset, self._written - self._offset, self._digest.hexdigest())
        self._begin()
        return member

    @property
    def length(self) -> int:
        """Bytes of all ended members."""
        return self._written

    def sha256(self) -> str:
        """Return the digest of all ended members."""
        return self._whole.hexdigest()

    def _begin(self) -> None:
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._digest = sha256()
        self._offset = self._written
        self._waiting += self._member_header

    def _compress(self) -> None:
        self._emit(self._gzip.compress(self._waiting))
        self._waiting.clear()

    def _emit(self, data: bytes) -> None:
        if data:
            self._out.write(data)
            self._digest.update(data)
            self._whole.update(data)
            self._written += len(data)


def as_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8, with its fields in order."""
    try:
        return _ENCODE(value)
    except UnicodeEncodeError:
        # Half of a surrogate pair has no UTF-8. It is written as an escape, which the reader of lines refuses.
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode("ascii")


class _Header(msgspec.Struct):
    """The first line of a file, which is a header if it has a format."""

    format: object = UNSET


_READ_HEADER: Final = msgspec.json.Decoder(_Header).decode


def typed_lines(kind: type[Line], chunks: Iterable[bytes], *, path: str) -> Iterator[Line]:
    """Yield the lines after the header as values of one kind.

    Raises:
        CorruptState: As for ``lines``; or a line is not JSON, or a field is missing, unknown or invalid.
        UnsupportedStateFormat: They have another major version.
    """
    found = lines(chunks, path=path)
    first = next(found, None)
    if first is None:
        return
    try:
        versioned = _is_header(first, path)
    except UnsupportedStateFormat:
        # A damaged file is no newer one: gzip's checksum follows the data.
        for _ in found:
            pass
        raise
    read = msgspec.json.Decoder(kind if versioned else _without_unknown_fields(kind)).decode
    try:
        if not versioned:
            yield read(first)
        for line in found:
            yield read(line)
    except msgspec.ValidationError as error:
        raise CorruptState(path=path, detail=f"a line is invalid: {without_values(error)}") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise CorruptState(path=path, detail="a line is not JSON, or not in UTF-8") from None


def _is_header(line: bytes, path: str) -> bool:
    try:
        found = _READ_HEADER(line).format
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return has_version(found, path=path)


@cache
def _without_unknown_fields(kind: type[Line]) -> type[Line]:
    """Return the kind as version 0 has it, without any unknown field."""
    return msgspec.defstruct(kind.__name__, [], bases=(kind,), frozen=True, forbid_unknown_fields=True)  # type: ignore[return-value]


def lines(chunks: Iterable[bytes], *, path: str) -> Iterator[bytes]:
    """Yield the lines of all members, in constant memory for any input.

    Raises:
        CorruptState: The input is not gzip, is truncated, or has a line that is too long.
    """
    yield from split_lines(_unzipped(chunks, path), path=path)


def split_lines(chunks: Iterable[bytes], *, path: str) -> Iterator[bytes]:
    """Yield the lines of a text without their line ends, in constant memory for any input.

    Raises:
        CorruptState: A line is too long, or the last one has no line end.
    """
    rest = b""
    for piece in chunks:
        pieces = (rest + piece).split(b"\n")
        rest = pieces.pop()
        if len(rest) > MAX_LINE_BYTES:
            raise CorruptState(path=path, detail="a line is too long")
        for line in pieces:
            if len(line) > MAX_LINE_BYTES:
                raise CorruptState(path=path, detail="a line is too long")
            yield line
    if rest:
        raise CorruptState(path=path, detail="its last line has no line feed")


def _in_pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield small pieces: zlib copies the unread rest of a piece after each step."""
    for chunk in chunks:
        for start in range(0, len(chunk), _FED_BYTES):
            yield chunk[start : start + _FED_BYTES]


def _unzipped(chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
    gzip = None
    spare = _MAX_OVERHEAD_BYTES
    try:
        for piece in _in_pieces(chunks):
            left = piece
            spare -= len(piece)
            if spare < 0:
                raise CorruptState(path=path, detail="it is longer than its lines")
            while left:
                gzip = gzip or zlib.decompressobj(_GZIP)
                unzipped = gzip.decompress(left, _PIECE_BYTES)
                if unzipped:
                    spare += 2 * len(unzipped)
                    yield unzipped
                left = gzip.unused_data if gzip.eof else gzip.unconsumed_tail
                if gzip.eof:
                    gzip = None
    except zlib.error:
        raise CorruptState(path=path, detail="it is not gzip, or it is damaged") from None
    if gzip is not None:
        raise CorruptState(path=path, detail="it is truncated")
