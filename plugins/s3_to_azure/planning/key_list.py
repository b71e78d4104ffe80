"""Lists of keys in place of a bucket's listing: read, checked, sorted and looked up, in constant memory.

A list is UTF-8 text with one key a line. Where its name ends in ``.jsonl``, each line is a JSON text, or a JSON object
that holds one under ``key``; so a key may hold line ends.
"""

import heapq
import json
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Final, TextIO

from s3_to_azure.model.errors import (
    AccessError,
    ConnectionFailed,
    CredentialsRefused,
    NameRefused,
    ObjectNotFound,
    UsageError,
)
from s3_to_azure.model.limits import KIB, MAX_KEY_BYTES, MIB
from s3_to_azure.model.objects import NO_ETAG, ListedObject, ObjectVersion
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.retry import Retrier

JSON_LINES: Final = ".jsonl"
MISSING: Final = "missing_in_source: S3 holds no object of this key"
_PIECE_BYTES: Final = 1 * MIB
_MOST_LINE: Final = 16 * KIB
# So many keys are sorted in memory at once: 6 MiB of usual ones, 55 MiB of the longest.
_RUN_KEYS: Final = 50_000
_MOST_RUNS: Final = 64
_MOST_PROBLEM: Final = 900
_NEVER: Final = datetime.fromtimestamp(0, UTC)


def object_pieces(source: ObjectSource, retrier: Retrier, *, bucket: str, key: str) -> Iterator[bytes]:
    """Yield the bytes of one object, a list of keys, all of the same version.

    Raises:
        ObjectNotFound: There is none.
        SourceChanged: It was written again meanwhile.
    """
    version = retrier.call(f"look at {key!r}", lambda: source.head(bucket, key))
    for start in range(0, version.size_bytes, _PIECE_BYTES):
        end = min(start + _PIECE_BYTES, version.size_bytes)
        yield retrier.call(f"read {key!r}", lambda start=start, end=end: _read(source, version, start, end))  # type: ignore[misc]


def keys_of(pieces: Iterable[bytes], *, name: str, prefix: str) -> Iterator[str]:
    """Yield a list's keys, in ascending order of their UTF-8 bytes, each once.

    A list of more than 50,000 keys is sorted in temporary files, about as large as it is. Every key is checked before
    the first is given.

    Args:
        pieces: The list's bytes.
        name: What the list is called, for errors and for its form.
        prefix: All keys must lie below it.

    Raises:
        UsageError: A line is no key, or one that lies elsewhere; its number is named.
    """
    keys = (_checked(line, number, name, prefix) for number, line in enumerate(_lines(pieces, name), start=1))
    given = (key for key in keys if key)
    runs: list[Iterable[str]] = []
    files = ExitStack()
    try:
        while run := sorted(islice(given, _RUN_KEYS)):
            if len(runs) == _MOST_RUNS:
                with files:
                    files = ExitStack()
                    runs = [_stored(heapq.merge(*runs), files)]
            # The only run of a short list stays in memory.
            runs.append(run if not runs and len(run) < _RUN_KEYS else _stored(run, files))
        for key, _ in groupby(heapq.merge(*runs)):
            yield key
    finally:
        files.close()


def look_up(
    keys: Iterable[str], source: ObjectSource, retrier: Retrier, *, bucket: str, at_once: int
) -> Iterator[ListedObject]:
    """Yield each key's object as a listing would show it, in the order of the keys, by one HEAD for each.

    An object that is not there, or that this identity may not see, is one with a ``problem``.

    Args:
        keys: Which.
        source: Where.
        retrier: Tries each HEAD.
        bucket: The bucket.
        at_once: Most requests in flight.
    """

    def look(key: str) -> ListedObject:
        return retrier.call(f"look at {key!r}", lambda: _look(source, bucket, key))

    workers = ThreadPoolExecutor(at_once, thread_name_prefix="keys")
    waiting: deque[Future[ListedObject]] = deque()
    try:
        for key in keys:
            waiting.append(workers.submit(look, key))
            if len(waiting) > 2 * at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        workers.shutdown(cancel_futures=True)


def _look(source: ObjectSource, bucket: str, key: str) -> ListedObject:
    unseen = ListedObject(bucket, key, NO_ETAG, 0, _NEVER)
    try:
        found = source.head(bucket, key)
    except ObjectNotFound:
        return ListedObject(bucket, key, NO_ETAG, 0, _NEVER, problem=MISSING)
    except NameRefused:
        # It can be no request; the plan says by its policy what becomes of it.
        return unseen
    except CredentialsRefused:
        raise
    except AccessError as error:
        problem = f"{error.reason()}: {error}"[:_MOST_PROBLEM]
        return ListedObject(bucket, key, NO_ETAG, 0, _NEVER, problem=problem)
    return ListedObject(bucket, key, found.etag, found.size_bytes, found.last_modified, found.storage_class)


def _read(source: ObjectSource, version: ObjectVersion, start: int, end: int) -> bytes:
    data = bytearray(end - start)
    filled = 0
    with source.open(version, start, end) as body, memoryview(data) as view:
        while filled < len(data) and (count := body.readinto(view[filled:])):
            filled += count
    if filled < len(data):
        raise ConnectionFailed(service="S3", thing=repr(version.key), detail="the answer ended early")
    return bytes(data)


def _lines(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _MOST_LINE:
            raise UsageError(what=f"{name} is no list of keys: a line has more than {_MOST_LINE:,} bytes.")
    if rest:
        yield rest


def _checked(line: bytes, number: int, name: str, prefix: str) -> str:
    """Return the line's key; empty for an empty line."""
    where = f"Line {number:,} of {name}"
    try:
        text = line.removesuffix(b"\r").decode()
        key = _from_json(text) if text and name.endswith(JSON_LINES) else text
        too_long = len(key.encode()) > MAX_KEY_BYTES
    except (ValueError, RecursionError):
        raise UsageError(what=f"{where} is no key: {line[:80]!r}.") from None
    if too_long:
        raise UsageError(what=f"{where} is no key: it has more than {MAX_KEY_BYTES:,} bytes.")
    if key and not key.startswith(prefix):
        raise UsageError(
            what=f"{where} is {key!r}, which is not below the prefix {prefix!r} that is to be copied. Nothing was "
            "copied; take that line out, or name a source that holds it."
        )
    return key


def _from_json(text: str) -> str:
    value: object = json.loads(text)
    if isinstance(value, dict):
        value = value.get("key")
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - told as any other line that is no key
    return value


def _stored(keys: Iterable[str], files: ExitStack) -> Iterator[str]:
    """Write sorted keys into a temporary file; return an iterator that reads them back."""
    made = tempfile.TemporaryFile("w+", encoding="ascii", newline="\n")  # noqa: SIM115 - closed with the others
    file: TextIO = files.enter_context(made)
    file.writelines(f"{json.dumps(key)}\n" for key in keys)
    file.seek(0)
    return (json.loads(line) for line in file)
