"""The manifest: objects come back as written, and any other file is refused."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_pointer

from s3_to_azure.model.errors import S3, ConnectionFailed, CorruptState
from s3_to_azure.model.limits import MAX_OBJECT_BYTES
from s3_to_azure.model.objects import ListedObject, SourceChecksum
from s3_to_azure.state.manifest import ManifestPointer, read_manifest, write_manifest
from s3_to_azure.stores.http.pages import Pages
from tests.fakes.state_memory import MemoryState

NOON = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
OBJECTS = st.lists(
    st.builds(
        ListedObject,
        bucket=st.just("bucket"),
        key=KEYS.map("p/".__add__),
        etag=st.sampled_from(["0123456789abcdef0123456789abcdef", "d41d8-17"]),
        size_bytes=st.integers(0, MAX_OBJECT_BYTES),
        last_modified=st.just(NOON),
        storage_class=st.sampled_from(["STANDARD", "DEEP_ARCHIVE"]),
        reported=st.none()
        | st.integers(0, 2**64 - 1).map(lambda value: SourceChecksum("crc64nvme", value, reported=True)),
    ),
    max_size=20,
    unique_by=lambda listed: listed.key,
)


def written(objects: list[ListedObject]) -> tuple[MemoryState, ManifestPointer]:
    """Return state files with a manifest of these objects, and its pointer."""
    files = MemoryState(piece_bytes=7)
    return files, write_manifest(objects, files, bucket="bucket", prefix="p/")


def one_object(**changes: Any) -> ListedObject:
    """Return an object."""
    return replace(ListedObject("bucket", "p/a", "etag", 3, NOON), **changes)


@given(objects=OBJECTS)
def test_objects_come_back_as_written(objects: list[ListedObject]) -> None:
    """Any keys come back in the order of the listing, with the totals in the pointer."""
    files, pointer = written(objects)
    assert list(read_manifest(files, pointer)) == objects
    assert (pointer.objects, pointer.bytes_total) == (len(objects), sum(item.size_bytes for item in objects))


@given(objects=OBJECTS)
def test_the_pointer_tells_whether_the_keys_ascend(objects: list[ListedObject]) -> None:
    """Only keys that ascend in UTF-8, as S3 compares them, can be joined later."""
    keys = [listed.key.encode() for listed in objects]
    assert written(objects)[1].ordered == (keys == sorted(keys))
    by_bytes = sorted(objects, key=lambda listed: listed.key.encode())
    assert written(by_bytes)[1].ordered


def test_the_pointer_survives_xcom() -> None:
    """The pointer is small, and the same after JSON."""
    _, pointer = written([one_object()])
    text = json.dumps(pointer.as_dict())
    assert ManifestPointer.from_dict(json.loads(text)) == pointer
    assert len(text) < 1_000


def test_an_object_listed_twice_in_a_row_is_written_once() -> None:
    """A page that is requested again after an error adds nothing."""
    files, pointer = written([one_object(), one_object(), one_object(key="p/b")])
    assert [listed.key for listed in read_manifest(files, pointer)] == ["p/a", "p/b"]
    assert pointer.ordered


def test_a_listing_is_completed_and_continues_after_an_error() -> None:
    """Each object gets what a report has of it, also behind a page that failed at first."""
    failures = [ConnectionFailed(service=S3, resource="bucket", detail="reset")]

    def fetch_page(token: int | None) -> tuple[list[ListedObject], int | None]:
        if token and failures:
            raise failures.pop()
        number = token or 0
        return [one_object(key=f"p/{number}")], number + 1 if number < 2 else None

    files, checksum = MemoryState(), SourceChecksum("crc64nvme", 7, reported=True)
    pages = Pages(fetch_page, name_of=lambda listed: listed.key, service=S3, resource="bucket")
    pointer = write_manifest(
        pages, files, bucket="bucket", prefix="p/", completed=lambda listed: replace(listed, reported=checksum)
    )
    found = {listed.key: listed.reported for listed in read_manifest(files, pointer)}
    assert found == dict.fromkeys(("p/0", "p/1", "p/2"), checksum)


class CountingState(MemoryState):
    """Counts the bytes written and discards them."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    @contextmanager
    def write(self, name: str, **_: Any) -> Iterator[Any]:
        """Return a writer that counts."""
        counting = self

        class Writer:
            def write(self, data: bytes) -> None:
                counting.written += len(data)

        yield Writer()


def test_the_listing_is_written_as_it_arrives() -> None:
    """A listing of any length takes constant memory."""
    files = CountingState()
    seen: list[int] = []

    def listing() -> Iterator[ListedObject]:
        for number in range(30_000):
            if not number % 10_000:
                seen.append(files.written)
            yield one_object(key=f"p/{number:06}", etag=sha256(str(number).encode()).hexdigest())

    write_manifest(listing(), files, bucket="bucket", prefix="p/")
    assert seen[0] < seen[1] < seen[2]


@pytest.mark.parametrize("changes", [{"key": "q/a"}, {"bucket": "other"}])
def test_a_listing_of_another_place_is_refused(changes: dict[str, Any]) -> None:
    """An object outside the prefix or of another bucket never enters a manifest."""
    with pytest.raises(CorruptState):
        written([one_object(**changes)])


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_manifest_is_corrupt_state(data: st.DataObject) -> None:
    """Changed, missing or added bytes raise no other error, whatever they do to gzip, JSON or values."""
    files, pointer = written([one_object(key=f"p/{number}") for number in range(5)])
    whole = bytearray(files.files[pointer.name])
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.sampled_from(["flip", "cut", "add"]))
    if damage == "flip":
        whole[at] ^= data.draw(st.integers(1, 255))
    elif damage == "cut":
        del whole[at:]
    else:
        whole[at:at] = data.draw(st.binary(min_size=1, max_size=50))
    files.files[pointer.name] = bytes(whole)
    with pytest.raises(CorruptState):
        list(read_manifest(files, pointer))


GOOD_LINE = {
    "key": "p/a",
    "etag": "etag",
    "size_bytes": 3,
    "last_modified": "2026-03-01T12:00:00+00:00",
    "storage_class": "STANDARD",
}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff",
        b"[" * 20_000,
        b"9" * 10_000,
        b'{"key": "p/a"}',
        *(
            json.dumps(GOOD_LINE | change).encode()
            for change in (
                {"more": 1},
                {"key": 1},
                {"key": ""},
                {"key": "p/" + "x" * 1_024},
                {"key": "p/" + "é" * 600},
                {"key": "p/\ud800"},
                {"key": "../outside"},
                {"etag": 'e"tag'},
                {"etag": "e\r\ntag"},
                {"etag": ""},
                {"size_bytes": -1},
                {"size_bytes": True},
                {"size_bytes": 1.5},
                {"size_bytes": "3"},
                {"size_bytes": MAX_OBJECT_BYTES + 1},
                {"last_modified": "2026-03-01T12:00:00"},
                {"last_modified": "yesterday"},
                {"last_modified": 17},
                {"storage_class": "standard class"},
                {"storage_class": None},
            )
        ),
    ],
)
def test_an_invalid_line_is_corrupt_state(line: bytes) -> None:
    """Type and range of each field are checked even if digest and totals match."""
    files = MemoryState()
    data = gzip.compress(line + b"\n")
    pointer = ManifestPointer(
        token="0" * 16,
        bucket="bucket",
        prefix="p/",
        objects=1,
        bytes_total=3,
        ordered=True,
        looked_up=False,
        length=len(data),
        sha256=sha256(data).hexdigest(),
    )
    files.files[pointer.name] = gzip.compress(json.dumps(GOOD_LINE).encode() + b"\n")
    with pytest.raises(CorruptState, match="it is not the file"):
        list(read_manifest(files, pointer))
    files.files[pointer.name] = data
    with pytest.raises(CorruptState):
        list(read_manifest(files, pointer))


def test_a_gzip_bomb_is_corrupt_state() -> None:
    """A line of 64 MiB of zeros is refused after its first pieces."""
    files, pointer = written([one_object()])
    files.files[pointer.name] = gzip.compress(bytes(64 << 20))
    with pytest.raises(CorruptState, match="too long"):
        list(read_manifest(files, pointer))


@pytest.mark.parametrize(
    "change",
    [
        {"token": "../../other/run0"},
        {"token": 5},
        {"objects": -1},
        {"objects": None},
        {"ordered": "yes"},
        {"sha256": "f" * 63},
        {"prefix": "x" * 1_025},
        {"prefix": "p/\ud800"},
        {"bucket": "x" * 256},
        {"more": 1},
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_an_invalid_pointer_is_corrupt_state(change: dict[str, object], version: int) -> None:
    """A pointer is validated like a file, in every version; only version 0 refuses an unknown field."""
    _, pointer = written([one_object()])
    values = pointer.as_dict() | change
    if version == 0:
        del values["format"]
    elif "more" in change:
        assert ManifestPointer.from_dict(values) == pointer
        return
    with pytest.raises(CorruptState):
        ManifestPointer.from_dict(values)


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_another_value_than_a_pointer_is_corrupt_state(values: object) -> None:
    """XCom may hold any value."""
    with pytest.raises(CorruptState):
        ManifestPointer.from_dict(values)


def test_a_manifest_with_more_objects_than_its_pointer_is_refused_at_the_first() -> None:
    """An exchanged file is not read to its end."""
    files, pointer = written([one_object(key=f"p/{number:05}") for number in range(20_000)])
    reader = read_manifest(files, replace_pointer(pointer, objects=3))
    assert [next(reader).key for _ in range(3)] == ["p/00000", "p/00001", "p/00002"]
    with pytest.raises(CorruptState, match="not the file that the listing wrote"):
        next(reader)
