"""JSON lines in gzip members, the form of manifests, plans and receipts: written in order, read without trust.

What a line may hold is a ``msgspec.Struct`` that forbids unknown fields: one C function reads a line and checks every
name, type and range, in a tenth of the time that Python takes for it.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import KIB, MAX_KEY_BYTES, MAX_OBJECT_BYTES
from s3_to_azure.model.ports import StateWriter

# A key of 1,024 bytes is at most 6,144 characters as JSON; a receipt holds two of such names and a sentence about it.
MAX_LINE_BYTES: Final = 64 * KIB
Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_BYTES)]
ETagText = Annotated[str, Meta(min_length=1, max_length=256)]
Size = Annotated[int, Meta(ge=0, le=MAX_OBJECT_BYTES)]
_FED_BYTES: Final = 16 * KIB
_PIECE_BYTES: Final = 256 * KIB
_GZIP: Final = 31
_LEVEL: Final = 3
_ENCODE: Final = msgspec.json.Encoder().encode

Line = TypeVar("Line", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Member:
    """A gzip member's place in its file: ``length`` bytes from ``offset``."""

    offset: int
    length: int
    sha256: str


class LinesWriter:
    """Writes JSON lines into a state file, as one gzip member after the other.

    The same lines give the same bytes: nothing of the time or the machine is in them.

    Args:
        out: The open file, at its beginning.
    """

    def __init__(self, out: StateWriter) -> None:
        """Begin with the first member."""
        self._out = out
        self._written = 0
        self._whole = sha256()
        self._waiting = bytearray()
        self._begin()

    def add(self, line: object) -> None:
        """Append one line: a ``msgspec.Struct``, or a dataclass of texts and numbers."""
        self._waiting += as_json(line)
        self._waiting += b"\n"
        if len(self._waiting) >= _FED_BYTES:
            self._compress()

    def end_member(self) -> Member:
        """Close the member and begin the next; return its place."""
        self._compress()
        self._emit(self._gzip.flush())
        member = Member(self._offset, self._written - self._offset, self._digest.hexdigest())
        self._begin()
        return member

    @property
    def length(self) -> int:
        """Bytes of all closed members."""
        return self._written

    def sha256(self) -> str:
        """Return the digest of all closed members."""
        return self._whole.hexdigest()

    def _begin(self) -> None:
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._digest = sha256()
        self._offset = self._written

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
    """Return a line's values as JSON in UTF-8, in the order of their fields."""
    try:
        return _ENCODE(value)
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8. It is written all the same, and whoever reads it as a line refuses it.
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode("ascii")


def typed_lines(kind: type[Line], chunks: Iterable[bytes], *, path: str) -> Iterator[Line]:
    """Yield all lines as values of one kind, which says what they may hold.

    Raises:
        CorruptState: As ``lines``; or a line is not JSON, or a value is missing, too many, or not what it must be.
    """
    read = msgspec.json.Decoder(kind).decode
    try:
        for line in lines(chunks, path=path):
            yield read(line)
    except msgspec.ValidationError as error:
        raise CorruptState(path=path, detail=_told(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise CorruptState(path=path, detail="a line is not JSON, or not in UTF-8") from None


def _told(error: msgspec.ValidationError) -> str:
    """Return what is wrong, without what the line holds: that may be anything."""
    text = str(error)
    if text.startswith("Object contains unknown field"):
        return "a line has a value too many"
    if text.startswith("Invalid enum value"):
        return f"a value is none that there is{text[text.rfind(' - at ') :] if ' - at `$.' in text else ''}"
    return f"a line is not what it must be: {text}"


def lines(chunks: Iterable[bytes], *, path: str) -> Iterator[bytes]:
    """Yield the lines of all members, in constant memory whatever the bytes are.

    Raises:
        CorruptState: It is no gzip file, is cut short, or has a line that is too long.
    """
    rest = b""
    for piece in _unzipped(chunks, path):
        pieces = (rest + piece).split(b"\n")
        rest = pieces.pop()
        if len(rest) > MAX_LINE_BYTES:
            raise CorruptState(path=path, detail="a line is too long")
        for line in pieces:
            if len(line) > MAX_LINE_BYTES:
                raise CorruptState(path=path, detail="a line is too long")
            yield line
    if rest:
        raise CorruptState(path=path, detail="its last line has no end")


def _in_pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield small pieces: what zlib has not yet taken of one is copied after each of its steps."""
    for chunk in chunks:
        for start in range(0, len(chunk), _FED_BYTES):
            yield chunk[start : start + _FED_BYTES]


def _unzipped(chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
    gzip = None
    try:
        for piece in _in_pieces(chunks):
            left = piece
            while left:
                gzip = gzip or zlib.decompressobj(_GZIP)
                unzipped = gzip.decompress(left, _PIECE_BYTES)
                if unzipped:
                    yield unzipped
                left = gzip.unused_data if gzip.eof else gzip.unconsumed_tail
                if gzip.eof:
                    gzip = None
    except zlib.error:
        raise CorruptState(path=path, detail="it is not gzip, or damaged") from None
    if gzip is not None:
        raise CorruptState(path=path, detail="it is cut short")


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Row:
    """An object's values, each taken by name, type and range; anything else is ``CorruptState``.

    Args:
        line: The line's bytes.
        path: The file, for the error.
    """

    __slots__ = ("_path", "_values")

    def __init__(self, line: bytes | str, path: str) -> None:
        """Parse the line.

        Raises:
            CorruptState: It is no JSON object.
        """
        self._path = path
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise self.bad("a line is not JSON") from None
        if not isinstance(values, dict):
            raise self.bad("a line is no JSON object")
        self._values: dict[str, object] = values

    @classmethod
    def of(cls, values: object, path: str) -> "Row":
        """Return the row of values that are parsed already.

        Raises:
            CorruptState: They are no mapping of names.
        """
        row = cls(b"{}", path)
        if not isinstance(values, dict):
            raise row.bad("it is no JSON object")
        row._values = dict(values)
        return row

    def bad(self, detail: str) -> CorruptState:
        """Return the error that names the file."""
        return CorruptState(path=self._path, detail=detail)

    def text(self, name: str, *, most: int, pattern: re.Pattern[str] | None = None) -> str:
        """Return a text of at most so many characters, which can be written as UTF-8 and fits the pattern."""
        value = self._values.pop(name, None)
        if not isinstance(value, str) or len(value) > most:
            raise self.bad(f"{name} is no text of at most {most} characters")
        if _SURROGATE.search(value):
            raise self.bad(f"{name} is no Unicode text")
        if pattern and not pattern.fullmatch(value):
            raise self.bad(f"{name} has characters that it cannot have")
        return value

    def optional_text(self, name: str, *, most: int, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return such a text, or None for null."""
        if name in self._values and self._values[name] is None:
            del self._values[name]
            return None
        return self.text(name, most=most, pattern=pattern)

    def number(self, name: str, *, least: int = 0, most: int) -> int:
        """Return an integer in ``[least, most]``."""
        value = self._values.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.bad(f"{name} is no number between {least} and {most}")
        return value

    def seconds(self, name: str, *, most: float) -> float:
        """Return a finite number in ``[0, most]``."""
        value = self._values.pop(name, None)
        # Written so that NaN fails too.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
            raise self.bad(f"{name} is no number between 0 and {most}")
        return float(value)

    def flag(self, name: str) -> bool:
        """Return True or False."""
        value = self._values.pop(name, None)
        if not isinstance(value, bool):
            raise self.bad(f"{name} is neither true nor false")
        return value

    def moment(self, name: str) -> datetime:
        """Return a moment with its time zone."""
        text = self.text(name, most=40)
        try:
            moment = datetime.fromisoformat(text)
            offset = moment.utcoffset()
        except ValueError:
            raise self.bad(f"{name} is no moment") from None
        if offset is None:
            raise self.bad(f"{name} has no time zone")
        return moment

    def rows(self, name: str, *, most: int) -> list["Row"]:
        """Return a list of objects."""
        value = self._values.pop(name, None)
        if not isinstance(value, list) or len(value) > most:
            raise self.bad(f"{name} is no list of at most {most} things")
        return [Row.of(item, self._path) for item in value]

    def has(self, name: str) -> bool:
        """Say whether there is such a value, not yet taken."""
        return name in self._values

    def end(self) -> None:
        """Check that every value was taken."""
        if self._values:
            raise self.bad(f"it has {len(self._values)} values too many")


TOKEN: Final = re.compile(r"[0-9a-f]{16}")


SHA256: Final = re.compile(r"[0-9a-f]{64}")
