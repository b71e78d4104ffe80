"""Key lists in place of a bucket's listing: read, validated, sorted and looked up in bounded memory.

A key list is UTF-8 text, with or without a byte order mark, that has one key per line. If its name ends in ``.jsonl``,
each line is a JSON string, or a JSON object whose ``key`` is one, so that a key may contain line breaks.
"""

import codecs
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from s3_to_azure.model.errors import (
    S3,
    BucketNotFound,
    CertificateRefused,
    ClockSkewed,
    ConnectionFailed,
    CredentialsRefused,
    NameRefused,
    ObjectNotFound,
    PermanentError,
    ProxyRefused,
    UsageError,
)
from s3_to_azure.model.limits import KIB, MAX_KEY_BYTES, MIB
from s3_to_azure.model.objects import NO_ETAG, ListedObject, ObjectVersion
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.reasons import MISSING_IN_SOURCE, explained
from s3_to_azure.model.retry import Retrier
from s3_to_azure.planning.temporary_table import temporary_table
from s3_to_azure.stores.http.redaction import redact

JSON_LINES: Final = ".jsonl"
MISSING: Final = explained(MISSING_IN_SOURCE, "S3 holds no object of this key")
_PIECE_BYTES: Final = 1 * MIB
_MAX_LINE_BYTES: Final = 16 * KIB
_GZIP: Final = b"\x1f\x8b"
_URLS: Final = ("https://", "http://")
_QUOTED_VALUES: Final = re.compile(r'"[^"]*","')
_MAX_PROBLEM_CHARACTERS: Final = 900
# Errors that every key would meet.
_OF_ALL_KEYS: Final = (BucketNotFound, CertificateRefused, ClockSkewed, CredentialsRefused, ProxyRefused, UsageError)
_UNKNOWN_TIME: Final = datetime.fromtimestamp(0, UTC)


def object_pieces(source: ObjectSource, retrier: Retrier, *, bucket: str, key: str) -> Iterator[bytes]:
    """Yield the bytes of a key list that is an S3 object, all from the same version.

    Raises:
        ObjectNotFound: The object does not exist.
        SourceChanged: The object was overwritten while it was read.
    """
    version = retrier.call(f"look at {key!r}", lambda: source.head(bucket, key))
    for start in range(0, version.size_bytes, _PIECE_BYTES):
        end = min(start + _PIECE_BYTES, version.size_bytes)
        yield retrier.call(f"read {key!r}", lambda start=start, end=end: _read_range(source, version, start, end))  # type: ignore[misc]


def keys_of(pieces: Iterable[bytes], *, name: str, prefix: str) -> Iterator[str]:
    """Yield the keys of a list in ascending order of their UTF-8 bytes, without duplicates.

    Every line is validated before the first key is yielded. SQLite sorts the keys: in memory up to some 8 MiB, beyond
    that in temporary files of two to three times the size of the list. Memory: 2 * 8 MiB, however long the list is.

    Args:
        pieces: The bytes of the list.
        name: The name of the list, which errors mention and whose ending selects the format.
        prefix: The prefix that every key must have.

    Raises:
        UsageError: A line is not a key or is not below the prefix, and the error names the line; or the temporary
            directory cannot hold the keys.
    """
    lines = enumerate(_split_lines(pieces, name), start=1)
    keys = (_parse_line(line, number, name, prefix) for number, line in lines)
    with temporary_table("key BLOB NOT NULL", name=name) as database:
        database.executemany("INSERT INTO listed VALUES (?)", ((key,) for key in keys if key))
        # One scan and one external merge sort. An index would take a random write for each key instead.
        for (key,) in database.execute("SELECT DISTINCT key FROM listed ORDER BY key"):
            yield key.decode()


def look_up(
    keys: Iterable[str], source: ObjectSource, retrier: Retrier, *, bucket: str, at_once: int
) -> Iterator[ListedObject]:
    """Yield each key's object as a listing would show it, in the order of the keys, with one HEAD per key.

    An object that does not exist, or that this identity may not read, has a ``problem``.

    Args:
        keys: The keys to look up.
        source: Where the objects are.
        retrier: Retries each HEAD.
        bucket: The bucket.
        at_once: The maximum number of requests in flight.
    """

    def head(key: str) -> ListedObject:
        return retrier.call(f"look at {key!r}", lambda: _head(source, bucket, key))

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="keys")
    pending: deque[Future[ListedObject]] = deque()
    try:
        for key in keys:
            pending.append(pool.submit(head, key))
            if len(pending) > 2 * at_once:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _head(source: ObjectSource, bucket: str, key: str) -> ListedObject:
    problem = ""
    try:
        found = source.head(bucket, key)
    except NameRefused:
        # No request can carry this name. The plan decides by its policy for refused names.
        pass
    except ObjectNotFound:
        problem = MISSING
    except _OF_ALL_KEYS:
        raise
    except PermanentError as error:
        # One odd answer does not keep the other objects from being copied.
        problem = error.as_reason()[:_MAX_PROBLEM_CHARACTERS]
    else:
        return ListedObject(bucket, key, found.etag, found.size_bytes, found.last_modified, found.storage_class)
    return ListedObject(bucket, key, NO_ETAG, 0, _UNKNOWN_TIME, problem=problem)


def _read_range(source: ObjectSource, version: ObjectVersion, start: int, end: int) -> bytes:
    data = bytearray(end - start)
    filled = 0
    with source.open(version, start, end) as body, memoryview(data) as view:
        while filled < len(data) and (count := body.readinto(view[filled:])):
            filled += count
    if filled < len(data):
        raise ConnectionFailed(service=S3, resource=repr(version.key), detail="the answer ended early")
    return bytes(data)


def _split_lines(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE_BYTES:
            raise UsageError(detail=f"{name} is not a key list: a line has more than {_MAX_LINE_BYTES:,} bytes.")
    if rest:
        yield rest


def _parse_line(line: bytes, number: int, name: str, prefix: str) -> bytes:
    """Return the line's key in UTF-8; empty for an empty line."""
    where = f"Line {number:,} of {name}"
    is_json = name.endswith(JSON_LINES)
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    try:
        text = line.removesuffix(b"\r").decode()
        key = _parse_json(text) if text and is_json else text
        encoded = key.encode()
    except (ValueError, RecursionError):
        raise UsageError(detail=f"{where} is not a key: {redact(repr(line))[:82]}.{_encoding_of(line)}") from None
    problem = "" if is_json else _other_format(text, is_first=number == 1)
    if problem:
        raise UsageError(
            detail=f"{where} is not a key: {redact(text)[:80]!r}.{problem} A key that does look so can be given in "
            f"JSON lines, in a list whose name ends in {JSON_LINES}."
        )
    if len(encoded) > MAX_KEY_BYTES:
        raise UsageError(detail=f"{where} is not a key: it has more than {MAX_KEY_BYTES:,} bytes.")
    if key and not key.startswith(prefix):
        raise UsageError(
            detail=f"{where} is {redact(key)!r}, which is not below the prefix {prefix!r} that is to be copied. "
            "Nothing was copied; take that line out, or name a source that holds it."
        )
    return encoded


def _encoding_of(line: bytes) -> str:
    """Return what the list is instead of UTF-8, as a sentence after a space; nothing if that is not known."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return " The list is UTF-16, as some versions of PowerShell write it: save it as UTF-8."
    if line.startswith(_GZIP):
        return " The list is compressed: unpack it."
    return ""


def _other_format(text: str, *, is_first: bool) -> str:
    """Return what a text line shows the list to be instead of one key per line; nothing if it shows nothing."""
    if text.startswith("s3://"):
        return " It is an address: write the key alone, without s3:// and the bucket."
    if text.startswith(_URLS) and redact(text) != text:
        return " It is a URL with a signature: s3-to-azure takes a list of such by --urls-from."
    if not is_first:
        return ""
    if _QUOTED_VALUES.match(text):
        return " The list is CSV, as S3 Inventory writes it: write the column of the keys alone, decoded."
    if text.startswith(("{", "[")):
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        is_list = isinstance(found, list) and all(isinstance(item, str) for item in found)
        if found and (isinstance(found, dict) or is_list):
            return " The list is JSON: write one JSON string per line."
    return ""


def _parse_json(text: str) -> str:
    value: object = json.loads(text)
    if isinstance(value, dict):
        value = value.get("key")
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - reported like any other line that is not a key
    return value
