"""The manifest: the listing of one run in a state file; tasks pass a pointer to it.

It holds one JSON line per object, in the order of the listing, in gzip members of 10,000 lines. It is written and
read in constant memory.
"""

import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, structs

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MAX_KEY_BYTES
from s3_to_azure.model.names import check_bucket, is_shown_only
from s3_to_azure.model.objects import ListedObject, SourceChecksum
from s3_to_azure.model.options import WIDTHS
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.state.formats import Prefix, Sha256, Text, Token, read_values, with_version
from s3_to_azure.state.lines import ETagText, Key, LinesWriter, Size, typed_lines

_MEMBER_LINES: Final = 10_000
_MAX_OBJECTS: Final = 10**12
_MAX_FILE_BYTES: Final = 1 << 50
_MAX_PROBLEM_CHARACTERS: Final = 1_000
_MAX_REPORTED_CHARACTERS: Final = 200
_MAX_TIME_CHARACTERS: Final = 40
_TIME: Final = r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,6})?\+00:00)?$"
_HEX: Final = re.compile("[0-9a-f]+")
# An ETag goes into request headers between quotes: visible ASCII without a quote.
ETAG: Final = re.compile(r"[!#-~]{1,256}")
_CLASS: Final = re.compile(r"[!-~]{1,64}")
_USUAL_CLASSES: Final = frozenset({"STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING"})


ReportedText = Annotated[str, Meta(max_length=_MAX_REPORTED_CHARACTERS)]
"""The checksum that a report has of the object: algorithm, colon, hex digits; empty: none."""


InventoryTime = Annotated[str, Meta(max_length=_MAX_TIME_CHARACTERS, pattern=_TIME)]
"""ISO 8601 in UTC, or empty."""


class ObjectLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The object of a line of a manifest or a plan."""

    key: Key
    etag: ETagText
    size_bytes: Size
    last_modified: Annotated[datetime, Meta(tz=True)]
    storage_class: Annotated[str, Meta(min_length=1, max_length=64)]


class ManifestLine(ObjectLine, frozen=True):
    """A line of a manifest."""

    problem: Annotated[str, Meta(max_length=_MAX_PROBLEM_CHARACTERS)] = ""
    reported: ReportedText = ""


class ManifestPointer(msgspec.Struct, frozen=True, gc=False):
    """The name of a manifest with its totals and digest, which tasks pass on.

    Bucket and prefix are for display; no copy reads them from here.

    Attributes:
        token: Identifies the file; a repeated listing writes another one.
        ordered: Whether the keys ascend in the order of their UTF-8 bytes, each once.
        looked_up: Whether a list gave the keys and each object was looked up; otherwise the bucket was listed.
        length: Size of the file in bytes.
        sha256: Digest of the file.
        inventoried_at: When S3 began to make the inventory that was read instead of a listing; empty: there is none.
    """

    token: Token
    bucket: Annotated[Text, Meta(max_length=255)]
    prefix: Prefix
    objects: Annotated[int, Meta(ge=0, le=_MAX_OBJECTS)]
    bytes_total: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    ordered: bool
    looked_up: bool
    length: Annotated[int, Meta(ge=0, le=_MAX_FILE_BYTES)]
    sha256: Sha256
    inventoried_at: InventoryTime = ""

    @property
    def name(self) -> str:
        """The file's name in the state location."""
        return f"manifest-{self.token}.jsonl.gz"

    def as_dict(self) -> dict[str, Any]:
        """Return the pointer as JSON-ready values, about 1 KB at most."""
        return with_version(structs.asdict(self))

    @classmethod
    def from_dict(cls, values: object) -> "ManifestPointer":
        """Read a pointer.

        Raises:
            CorruptState: A field is missing, unknown or invalid.
            UnsupportedStateFormat: It has another major version.
        """
        return read_values(cls, values, path="manifest pointer")


def write_manifest(
    objects: Iterable[ListedObject],
    files: StateFiles,
    *,
    bucket: str,
    prefix: str,
    retrier: Retrier | None = None,
    completed: Callable[[ListedObject], ListedObject] | None = None,
    looked_up: bool = False,
    inventoried_at: datetime | None = None,
) -> ManifestPointer:
    """Write the listing into a manifest as it arrives; return the pointer when the file is complete.

    A page that fails with a transient error is requested again. An object that comes twice in a row is written once.
    Keys may come in any order. Only if they ascend, as S3 lists general purpose buckets, can the plan be made from
    listings alone.

    Args:
        objects: The listing as the store gives it: one that is wrapped is not continued after an error.
        files: Where the manifest is written.
        bucket: The bucket of all objects.
        prefix: The prefix of all keys.
        retrier: Tries and waits.
        completed: Returns a listed object with the checksum that a report has of it.
        looked_up: Whether a list gave the keys.
        inventoried_at: When S3 began to make the inventory that stands for a listing.

    Raises:
        CorruptState: A key is not below the prefix, or in another bucket.
    """
    if "://" not in bucket:
        # Else it is scheme and host of URLs that do not tell their bucket.
        check_bucket(bucket)
    retrier = retrier or Retrier(RetryBudget(), threading.Event())
    token = secrets.token_hex(8)
    count = size_bytes = 0
    ordered, last = True, None
    name = f"manifest-{token}.jsonl.gz"
    with files.write(name) as out:
        writer = LinesWriter(out)
        for listed in with_retries(objects, retrier, f"list s3://{bucket}"):
            if listed.key == last and not listed.problem:
                continue
            if listed.bucket != bucket or not listed.key.startswith(prefix):
                raise CorruptState(path=name, detail=f"the listing of s3://{bucket}/{prefix} returned {listed.key!r}")
            # Strings compare by code point, which is the order of their UTF-8 bytes.
            if not is_shown_only(listed):
                ordered = ordered and (last is None or last < listed.key)
                last = listed.key
            writer.add(line_of(completed(listed) if completed else listed))
            count += 1
            size_bytes += listed.size_bytes
            if not count % _MEMBER_LINES:
                writer.end_member()
        writer.end_member()
    return ManifestPointer(
        token=token,
        bucket=bucket,
        prefix=prefix,
        objects=count,
        bytes_total=size_bytes,
        ordered=ordered,
        looked_up=looked_up,
        length=writer.length,
        sha256=writer.sha256(),
        inventoried_at=inventoried_at.isoformat() if inventoried_at else "",
    )


def read_manifest(files: StateFiles, pointer: ManifestPointer) -> Iterator[ListedObject]:
    """Yield the manifest's objects in the order of the listing.

    The file is compared with the pointer at its end: do not act on any object before that.

    Raises:
        CorruptState: The file is not the one that the pointer describes, or is invalid.
    """
    path = f"{files.location}/{pointer.name}"
    digest = Digest(files.chunks(pointer.name))
    count = size_bytes = 0
    for line in typed_lines(ManifestLine, digest, path=path):
        check_line(line, prefix=pointer.prefix, path=path)
        listed = ListedObject(
            pointer.bucket,
            line.key,
            line.etag,
            line.size_bytes,
            line.last_modified,
            line.storage_class,
            line.problem,
            reported_checksum(line.reported, path=path) if line.reported else None,
        )
        count += 1
        size_bytes += listed.size_bytes
        if count > pointer.objects:
            break
        yield listed
    if (digest.hexdigest(), count, size_bytes) != (pointer.sha256, pointer.objects, pointer.bytes_total):
        raise CorruptState(path=path, detail="it is not the file that the listing wrote")


def line_of(listed: ListedObject) -> ManifestLine:
    """Return a listed object as a line."""
    return ManifestLine(
        listed.key,
        listed.etag,
        listed.size_bytes,
        listed.last_modified,
        listed.storage_class,
        listed.problem,
        reported_text(listed.reported) if listed.reported else "",
    )


def reported_text(checksum: SourceChecksum) -> str:
    """Return a reported checksum as lines have it."""
    return f"{checksum.algorithm}:{checksum.value:0{2 * WIDTHS[checksum.algorithm]}x}"


def reported_checksum(text: str, *, path: str) -> SourceChecksum:
    """Return the reported checksum of a line.

    Raises:
        CorruptState: The text is none.
    """
    algorithm, _, digits = text.partition(":")
    if 2 * WIDTHS.get(algorithm, 0) != len(digits) or not _HEX.fullmatch(digits):
        raise CorruptState(path=path, detail="a reported checksum is invalid")
    return SourceChecksum(algorithm, int(digits, 16), reported=True)


def check_line(line: ObjectLine, *, prefix: str, path: str) -> None:
    """Check what the types of a line cannot express; its key must be below the prefix.

    Raises:
        CorruptState: A value is invalid.
    """
    key = line.key
    if not key.startswith(prefix):
        raise CorruptState(path=path, detail=f"a key is not below the prefix {prefix!r}")
    # An object with a problem is never requested: its key may be longer.
    is_usable = not isinstance(line, ManifestLine) or not line.problem
    if is_usable and (len(key) > MAX_KEY_BYTES or not key.isascii()) and len(key.encode()) > MAX_KEY_BYTES:
        raise CorruptState(path=path, detail="a key is too long")
    if not ETAG.fullmatch(line.etag):
        raise CorruptState(path=path, detail="an etag has characters that are not allowed")
    if line.storage_class not in _USUAL_CLASSES and not _CLASS.fullmatch(line.storage_class):
        raise CorruptState(path=path, detail="a storage_class has characters that are not allowed")


class Digest:
    """Passes the pieces of a file on and computes their digest.

    Args:
        chunks: The file's pieces.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._sha256 = sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""
        for chunk in self._chunks:
            self._sha256.update(chunk)
            yield chunk

    def hexdigest(self) -> str:
        """Return the digest of the pieces passed so far."""
        return self._sha256.hexdigest()
