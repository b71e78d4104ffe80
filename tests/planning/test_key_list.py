"""Key lists: their formats, their order, and the lookup of each key in S3."""

import codecs
import gzip
import json
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import (
    AccessDenied,
    BucketNotFound,
    ClockSkewed,
    ConnectionFailed,
    CredentialsRefused,
    ObjectNotFound,
    PermanentError,
    SourceChanged,
    UnexpectedResponse,
    UsageError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.planning import key_list as key_lists
from s3_to_azure.planning import temporary_table
from s3_to_azure.planning.key_list import keys_of, look_up, object_pieces
from s3_to_azure.state.manifest import read_manifest, write_manifest
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import QUICK, Night

RETRIER = Retrier(QUICK, threading.Event())


def read(text: bytes, *, name: str = "keys.txt", prefix: str = "", piece: int = 7) -> list[str]:
    """Return the keys of a list that is read in small pieces."""
    pieces = (text[start : start + piece] for start in range(0, len(text), piece))
    return list(keys_of(pieces, name=name, prefix=prefix))


def test_a_list_has_one_key_per_line() -> None:
    """Order, duplicates, empty lines, CRLF line ends and a missing last line end do not matter."""
    assert read("b\r\na/ö 1\n\nb\na".encode()) == ["a", "a/ö 1", "b"]
    assert read(b"") == []


@pytest.mark.parametrize("name", ["keys.txt", "keys.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_key(name: str) -> None:
    """Editors and spreadsheets write one; in another line it is a character of the key."""
    mark = "\ufeff"
    lines = ["a", f"{mark}b"] if name.endswith("txt") else ['"a"', f'"{mark}b"']
    assert read((mark + "\n".join(lines)).encode(), name=name) == ["a", f"{mark}b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\nb\n".encode("utf-16"), "Line 1 of keys.txt is not a key: .* The list is UTF-16"),
        (codecs.BOM_UTF16_BE + "a\n".encode("utf-16-be"), "The list is UTF-16"),
        (gzip.compress(b"a\n", mtime=0), "The list is compressed"),
        (b'"bucket","a%20b"\r\n', "The list is CSV"),
        (b"a\ns3://bucket/b\n", "Line 2 of keys.txt is not a key: 's3://bucket/b'. It is an address"),
        (b'{"key": "a"}\n', "The list is JSON"),
        (b'["a", "b"]\n', "The list is JSON"),
    ],
)
def test_a_list_in_another_form_is_refused_in_words(text: bytes, says: str) -> None:
    """Its lines would be taken for keys of objects that do not exist."""
    with pytest.raises(UsageError, match=says):
        read(text, piece=1_000)


@pytest.mark.parametrize(
    "key", ['"a"', "[2021] report.pdf", "{draft}", "[1]", "{", "{}", "[]", 'say "hi","there"', "a,b"]
)
def test_keys_that_resemble_another_form_are_keys(key: str) -> None:
    """Only what can hardly be a key is refused."""
    assert read(key.encode(), piece=1_000) == [key]


def test_what_looks_like_another_form_can_be_given_as_json() -> None:
    """No key is impossible to list."""
    keys = ['"bucket","a"', "s3://bucket/b", '{"key": "a"}', "a\0b"]
    assert read("\n".join(map(json.dumps, keys)).encode(), name="keys.jsonl") == sorted(keys)


def test_keys_are_sorted_by_their_utf8_bytes() -> None:
    """Keys come as S3 lists them, so that the plan can join them with the destination's listing."""
    keys = ["z", "\U0001f642", "\uff5e", "ä", "a"]
    assert read("\n".join(keys).encode()) == sorted(keys, key=lambda key: key.encode())


def test_a_jsonl_list_holds_json_strings_or_objects() -> None:
    """In a list whose name ends in .jsonl each line is JSON, so that a key may contain line breaks."""
    lines = [json.dumps("a\nb"), json.dumps({"key": "c", "size": 7})]
    assert read("\n".join(lines).encode(), name="keys.jsonl") == ["a\nb", "c"]
    assert read(b'"a"\n') == ['"a"']


@pytest.mark.parametrize("prefix", ["", "in/"])
@pytest.mark.parametrize("name", ["keys.txt", "keys.jsonl"])
@pytest.mark.parametrize("end", ["", "\udc80"])
def test_a_list_of_presigned_urls_is_refused_without_a_signature(prefix: str, name: str, end: str) -> None:
    """Whoever reads the error could read the objects; without a prefix, each would be the key of a missing object."""
    url = f"https://bucket.s3.amazonaws.com/in/a?X-Amz-Date=20260101T000000Z&X-Amz-Signature={'5ec7e7' * 10}{end}"
    line = (json.dumps(url) if name.endswith("l") else url).encode(errors="surrogateescape")
    if not prefix and not end and name.endswith("l"):
        # JSON lines can hold any key.
        assert list(keys_of([line], name=name, prefix=prefix)) == [url]
        return
    with pytest.raises(UsageError, match=f"^Line 1 of {name} is") as caught:
        next(keys_of([line], name=name, prefix=prefix))
    assert "5ec7e7" not in str(caught.value)
    assert ("--urls-from" in str(caught.value)) == (name == "keys.txt" and not end)


@pytest.mark.parametrize("key", ["https://example.com/a?b=c", "http://x/y"])
def test_a_key_may_be_an_address_of_the_web(key: str) -> None:
    """An archive of pages has such keys."""
    assert list(keys_of([key.encode()], name="keys.txt", prefix="")) == [key]


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (b"in/a\nout/b\n", "keys.txt", "Line 2 of keys.txt is 'out/b', which is not below the prefix 'in/'"),
        (b"in/\xff\n", "keys.txt", "Line 1 of keys.txt is not a key"),
        (b"in/" + b"x" * 1_022, "keys.txt", "more than 1,024 bytes"),
        (b"x" * 40_000, "keys.txt", "a line has more than"),
        (b"in/a\n", "keys.jsonl", "Line 1 of keys.jsonl is not a key"),
        (b'{"name": "in/a"}\n', "keys.jsonl", "Line 1 of keys.jsonl is not a key"),
        (b'"in/\\ud800"\n', "keys.jsonl", "Line 1 of keys.jsonl is not a key"),
    ],
)
def test_an_invalid_line_is_named_by_its_number(text: bytes, name: str, says: str) -> None:
    """A line that is not a key, or not below the prefix, fails the list before any key is yielded."""
    with pytest.raises(UsageError, match=says):
        next(keys_of([text], name=name, prefix="in/"))


def test_long_lists_are_sorted_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many runs, merged more than once, give each key once and in order."""
    # SQLite sorts runs of the size of its cache, at least 1 MiB, and merges 16 of them at a time.
    monkeypatch.setattr(temporary_table, "_CACHE_BYTES", MIB)
    keys = [f"{number % 8_000:04} ü\n{'x' * 1_000}" for number in range(20_000)]
    random.Random(1).shuffle(keys)
    pieces = (json.dumps(key).encode() + b"\n" for key in keys)
    assert list(keys_of(pieces, name="k.jsonl", prefix="")) == sorted(set(keys))


# Any key, and often one of a few, so that there are duplicates; empty ones are lines without a key.
_KEYS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=256) | st.text("a/\0é\uff5e\U0001f642", max_size=2)
)


@given(_KEYS, st.integers(1, 100))
def test_any_keys_come_sorted_and_once(keys: list[str], piece: int) -> None:
    """Whatever the keys are: each comes once, in the order of its UTF-8 bytes, and exactly as it was given."""
    expected = sorted({key for key in keys if key}, key=lambda key: key.encode())
    lines = [json.dumps(key if number % 2 else {"key": key}) for number, key in enumerate(keys)]
    assert read("\n".join(lines).encode(), name="keys.jsonl", piece=piece) == expected
    plain = [key for key in keys if "\n" not in key and not key.endswith("\r")]
    expected = sorted({key for key in plain if key}, key=lambda key: key.encode())
    assert read("\n".join(plain).encode(), piece=piece) == expected


def test_a_list_may_pass_from_thread_to_thread() -> None:
    """One thread may start to read the keys, another read on, and a third end it."""
    keys = keys_of([b"a\nb\nc\n"], name="keys", prefix="")
    found = []
    for _ in range(2):
        with ThreadPoolExecutor(1) as thread:
            found.append(thread.submit(next, keys).result())
    keys.close()  # type: ignore[attr-defined]
    assert found == ["a", "b"]


def test_memory_does_not_grow_with_the_list() -> None:
    """Four times the keys take no more memory of Python's."""

    def peak(count: int) -> int:
        pieces = (f"prefix/{number * 7_919 % count:020}\n".encode() for number in range(count))
        tracemalloc.start()
        assert sum(1 for _ in keys_of(pieces, name="keys", prefix="prefix/")) == count
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    small = peak(15_000)
    assert peak(60_000) < 1.3 * small


# Sorts lists of the given lengths, one after the other, under the given limits; prints what becomes of each.
_SORT = """
import json, os, re, resource, sys
from pathlib import Path
from s3_to_azure.model.errors import PermanentError
from s3_to_azure.planning.key_list import keys_of

def peak():
    # Not getrusage: its peak is inherited from the process that started this one.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def sort(count):
    pieces = (f"prefix/{number * 7_919 % count:050}\\n".encode() for number in range(count))
    return sum(1 for _ in keys_of(pieces, name="keys.txt", prefix="prefix/"))

limit, *counts = json.loads(sys.argv[1])
results, before = [], peak()
if limit == "no byte in a file":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
if limit == "no open file":
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), 99))
for count in counts:
    try:
        results.append([sort(count), ""])
    except PermanentError as error:
        results.append([0, str(error)])
if not limit:
    results.append(peak() - before)
print(json.dumps(results))
"""


def sort_elsewhere(limit: str, *counts: int) -> list[Any]:
    """Sort lists of these lengths in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _SORT, json.dumps([limit, *counts])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results


def test_memory_of_the_whole_process_does_not_grow_with_the_list() -> None:
    """Four times the keys take no more memory, SQLite's included, and twice its cache at most, give or take half."""
    (found, _), small = sort_elsewhere("", 200_000)
    assert found == 200_000
    (found, _), large = sort_elsewhere("", 800_000)
    assert found == 800_000
    assert large < 1.3 * small
    assert large < 1.5 * 2 * temporary_table._CACHE_BYTES


@pytest.mark.parametrize(
    ("limit", "says"),
    [("no byte in a file", "disk I/O error"), ("no open file", "unable to open database file")],
)
def test_only_a_long_list_needs_a_disk(limit: str, says: str) -> None:
    """Where no temporary file can be made or written, short lists are sorted, and a long one says what to do."""
    short, long = sort_elsewhere(limit, 50_000, 400_000)
    assert short == [50_000, ""]
    assert long[1].startswith("keys.txt is too long to be sorted in memory, and SQLite cannot")
    assert says in long[1]
    assert "Free space there, or set TMPDIR" in long[1]


class Bucket(MemorySource):
    """A bucket that counts its HEADs and refuses some."""

    def __init__(self) -> None:
        super().__init__("bucket")
        self.heads: list[str] = []
        self.errors: dict[str, Exception] = {}
        for key in ("in/a", "in/b", "in/secret"):
            self.put("bucket", key, key.encode())

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Count, and fail or answer."""
        self.heads.append(key)
        if key in self.errors:
            raise self.errors[key]
        return super().head(bucket, key)


@pytest.fixture
def source() -> Bucket:
    """Return the bucket."""
    return Bucket()


def test_each_key_is_looked_up_once(source: Bucket) -> None:
    """A HEAD gives what a listing would; a missing or unreadable object is yielded with its problem."""
    denied: dict[str, Any] = {"service": "S3", "resource": "x", "code": "403", "cure": "Grant it."}
    source.errors["in/secret"] = AccessDenied(**denied)
    keys = iter(["in/../x", "in/a", "in/gone", "in/secret"])
    found = list(look_up(keys, source, RETRIER, bucket="bucket", at_once=2))
    assert [(one.key, one.problem.partition(":")[0]) for one in found] == [
        ("in/../x", ""),
        ("in/a", ""),
        ("in/gone", "missing_in_source"),
        ("in/secret", "access_denied"),
    ]
    assert found[1] == source.listed("bucket", "in/a")
    # For a name that cannot be sent, the store's own check fails without a request.
    assert sorted(source.heads) == ["in/../x", "in/a", "in/gone", "in/secret"]


def test_an_odd_answer_to_one_key_is_its_own_problem(source: Bucket) -> None:
    """A weak ETag, for example: the other objects are copied."""
    source.errors["in/a"] = UnexpectedResponse(service="S3", resource="in/a", detail="the response has no ETag")
    found = list(look_up(["in/a", "in/b"], source, RETRIER, bucket="bucket", at_once=2))
    assert found[0].problem.startswith("unexpected_response: ")
    assert found[1].key == "in/b"


@pytest.mark.parametrize(
    "error",
    [
        CredentialsRefused(service="S3", resource="x", code="403", cure="Renew them."),
        ClockSkewed(service="S3", resource="x", code="RequestTimeTooSkewed"),
        BucketNotFound(bucket="bucket"),
        UsageError(detail="The endpoint is not a URL."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_every_key_ends_the_lookup(source: Bucket, error: PermanentError) -> None:
    """An error that would hit every key is raised once, instead of one problem per key."""
    source.errors["in/a"] = error
    with pytest.raises(type(error)):
        list(look_up(["in/a", "in/b"], source, RETRIER, bucket="bucket", at_once=2))


def test_lookups_in_flight_are_bounded(source: Bucket) -> None:
    """Keys are drawn only as their answers are used, however long the list is."""
    drawn: list[int] = []

    def keys() -> Iterator[str]:
        for number in range(1_000):
            drawn.append(number)
            yield f"in/{number}"

    found = look_up(keys(), source, RETRIER, bucket="bucket", at_once=4)
    next(found)
    assert len(drawn) == 9
    found.close()  # type: ignore[attr-defined]
    assert len(source.heads) <= 9


def test_a_list_that_is_an_object_is_read_in_one_version(source: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is read in ranges of the same version; a new version fails the list."""
    monkeypatch.setattr(key_lists, "_PIECE_BYTES", 1_000)
    data = random.Random(2).randbytes(2_500)
    source.put("bucket", "lists/today.txt", data)
    pieces = object_pieces(source, RETRIER, bucket="bucket", key="lists/today.txt")
    assert b"".join(pieces) == data
    pieces = object_pieces(source, RETRIER, bucket="bucket", key="lists/today.txt")
    next(pieces)
    source.put("bucket", "lists/today.txt", data[::-1])
    with pytest.raises(SourceChanged):
        list(pieces)
    with pytest.raises(ObjectNotFound):
        list(object_pieces(source, RETRIER, bucket="bucket", key="none"))


def test_a_list_that_ends_early_is_read_again() -> None:
    """A connection that breaks off in the list leaves no key out: no report would name the others."""

    class Cut(Bucket):
        cuts = 1

        def served(self, key: str, start: int, data: bytes) -> bytes:
            self.cuts -= 1
            return data[:10] if self.cuts >= 0 else data

    cut, data = Cut(), b"in/a\nin/b\nin/c\n"
    cut.put("bucket", "lists/today.txt", data)
    assert b"".join(object_pieces(cut, RETRIER, bucket="bucket", key="lists/today.txt")) == data
    cut.cuts = 100
    with pytest.raises(ConnectionFailed):
        list(object_pieces(cut, RETRIER, bucket="bucket", key="lists/today.txt"))


def test_every_listed_key_is_accounted_for(source: Bucket) -> None:
    """A run over a key list copies the objects that exist, and its report fails the others with their reason."""
    destination, files = MemoryDestination(), MemoryState()
    found = look_up(["in/a", "in/gone", "in/z/../y"], source, RETRIER, bucket="bucket", at_once=2)
    pointer = write_manifest(found, files, bucket="bucket", prefix="in/", looked_up=True)
    assert [one.problem for one in read_manifest(files, pointer)] == ["", key_lists.MISSING, ""]
    night = Night(source, destination, files, "bucket").with_settings(s3_prefix="in/", refused_names="skip")
    plan, _, report = night.run_from(pointer)
    assert (plan.planning.s3_get, plan.planning.s3_list) == (3, 0)
    summary = report.summary()
    assert [summary[name]["objects"] for name in ("listed", "copied", "skipped", "failed")] == [3, 1, 1, 1]
    assert summary["failures"][0]["reason"] == key_lists.MISSING
    assert set(destination.blobs) == {"a"}
