"""``verify_object`` compares a blob with S3's checksum, or with the object itself, and says what it compared."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import AccessDenied, Cancelled, ConnectionFailed, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.transfer.integrity import MAX_SERIAL_BLOCK_BYTES
from s3_to_azure.transfer.verify import Verification, verify_object
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource
from tests.fakes.odd_sources import InParts

DATA = some_bytes(MIB + 5)
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])
PARTS = (400_000, 300_000, len(DATA) - 700_000)


class Reads(MemoryDestination):
    """A container that records which ranges are read, and fails or runs a test's action at the chosen request."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[int, int]] = []
        self.failures: list[TransferError] = []
        self.at_read: Callable[[], object] = lambda: None

    def head(self, blob: str) -> BlobState | None:
        """Fail as often as the test wants, then look the blob up."""
        if self.failures:
            raise self.failures.pop()
        return super().head(blob)

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Record the range, run the test's action, return the bytes."""
        self.ranges.append((start, end))
        self.at_read()
        return super().read(blob, start, end)


@pytest.fixture
def source() -> InParts:
    """Return a source without objects."""
    return InParts(BUCKET)


@pytest.fixture
def destination() -> Reads:
    """Return an empty container."""
    return Reads()


def verified(source: MemorySource, destination: MemoryDestination, key: str = "k", **changes: Any) -> Verification:
    """Return the result for one object."""
    with transfer_context(source, destination) as context:
        return verify_object(context, task(key, **changes))


def checksum_text(data: bytes, algorithm: str = "crc64nvme") -> str:
    """Return a whole object's checksum as results show it."""
    stored = SourceChecksum(algorithm, checksums.ALGORITHMS[algorithm].digest(memoryview(data)))
    return f"{algorithm}:{checksums.to_s3(stored)}"


@pytest.mark.parametrize("data", [DATA, b"x", b""], ids=["a mebibyte", "one byte", "empty"])
@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c"])
def test_equal_by_the_checksum_of_s3(source: InParts, destination: Reads, data: bytes, algorithm: str) -> None:
    """The result names the checksum that both sides have, and the object itself is not read."""
    version = source.put(BUCKET, "k", data, checksum=algorithm)
    destination.write("blob", data)
    assert verified(source, destination, blob="blob") == Verification(
        bucket=BUCKET,
        key="k",
        etag=version.etag,
        size_bytes=len(data),
        container=destination.container,
        blob="blob",
        status="equal",
        verified_by=algorithm,
        checksum=checksum_text(data, algorithm),
    )
    assert source.opened == []


def test_different_bytes_name_both_checksums(source: InParts, destination: Reads) -> None:
    """The reason holds S3's checksum, the result that of the blob's bytes."""
    source.put(BUCKET, "k", DATA)
    destination.write("k", OTHER)
    result = verified(source, destination)
    assert (result.status, result.reason) == ("different", f"S3 has {checksum_text(DATA)}")
    assert (result.verified_by, result.checksum) == ("crc64nvme", checksum_text(OTHER))


def test_different_sizes_are_not_read(source: InParts, destination: Reads) -> None:
    """A blob of another size is different without reading a byte of it, and nothing is claimed as verified."""
    source.put(BUCKET, "k", DATA)
    destination.write("k", DATA[:-1])
    result = verified(source, destination)
    assert (result.status, result.verified_by, result.checksum) == ("different", "", "")
    assert result.reason == f"the blob has {len(DATA) - 1} bytes, the object {len(DATA)}"
    assert destination.ranges == []


@pytest.mark.parametrize(("blob", "status"), [(DATA, "equal"), (OTHER, "different")])
def test_both_sides_are_read_where_s3_stores_no_checksum(
    source: InParts, destination: Reads, blob: bytes, status: str
) -> None:
    """Without a checksum of S3 the CRC64 of the object's bytes is compared, and the result says ``reread``."""
    source.put(BUCKET, "k", DATA, checksum=None)
    destination.write("k", blob)
    result = verified(source, destination)
    assert (result.status, result.verified_by, result.checksum) == (status, "reread", checksum_text(blob))
    assert result.reason == ("" if status == "equal" else f"S3 has {checksum_text(DATA)}")
    assert source.bytes_served == len(DATA)


def test_large_objects_are_read_in_pieces(source: InParts, destination: Reads) -> None:
    """Both sides are read in pieces of 8 MiB, so a budget of 8 MiB serves an object of any size."""
    data = some_bytes(17 * MIB)
    source.put(BUCKET, "k", data, checksum=None)
    destination.write("k", data)
    with transfer_context(source, destination, memory_budget_bytes=8 * MIB) as context:
        assert verify_object(context, task("k")).status == "equal"
    pieces = [(0, 8 * MIB), (8 * MIB, 16 * MIB), (16 * MIB, 17 * MIB)]
    assert destination.ranges == pieces
    assert source.opened == [("k", start, end) for start, end in pieces]


def test_missing_blob(source: InParts, destination: Reads) -> None:
    """An object without its blob is ``missing``; the result still has the object's ETag and size."""
    version = source.put(BUCKET, "k", DATA)
    result = verified(source, destination)
    assert (result.status, result.reason) == ("missing", "there is no such blob")
    assert (result.etag, result.size_bytes, result.verified_by) == (version.etag, len(DATA), "")


@pytest.mark.parametrize("data", [b"", DATA], ids=["empty", "a mebibyte"])
def test_a_directory_is_not_the_object(source: InParts, destination: Reads, data: bytes) -> None:
    """In a hierarchical namespace it is shown as a blob of no bytes, which would equal an empty object."""
    source.put(BUCKET, "k", data)
    destination.write("k", b"", blob_type="directory")
    result = verified(source, destination)
    assert (result.status, result.reason) == ("missing", "a directory has its name")


def test_folder_marker_is_skipped_without_a_request(source: InParts, destination: Reads) -> None:
    """A folder marker of the listing has no blob; it is neither looked up nor missing."""
    destination.failures = [AccessDenied(service="Azure", resource="b", code="c", cure="Grant read.")]
    marker = ListedObject(BUCKET, "folder/", "e", 0, EPOCH)
    result = verified(source, destination, "folder/", listed=marker)
    assert result == Verification(
        bucket=BUCKET,
        key="folder/",
        etag="e",
        size_bytes=0,
        container=destination.container,
        blob="folder/",
        status="skipped",
        reason="folder_marker",
    )
    assert len(destination.failures) == 1


def test_refused_name_is_skipped_where_the_user_said_so(source: InParts, destination: Reads) -> None:
    """As for a copy: ``refused_names="skip"`` leaves the object out, and nothing failed."""
    with transfer_context(source, destination, refused_names="skip") as context:
        assert verify_object(context, task("a/../b")).status == "skipped"


@pytest.mark.parametrize(("key", "blob"), [("a/../b", "fine"), ("fine", "a/../b")])
def test_refused_name_fails_without_a_request(source: InParts, destination: Reads, key: str, blob: str) -> None:
    """Invariant 8: neither an object's nor a blob's name with a dot segment is sent; the reason names the rule."""
    destination.failures = [AccessDenied(service="Azure", resource="b", code="c", cure="Grant read.")]
    result = verified(source, destination, key, blob=blob)
    assert result.status == "failed"
    assert result.reason.startswith("name_refused: ")
    assert (result.key, result.blob, result.etag, result.size_bytes) == (key, blob, "", 0)
    assert len(destination.failures) == 1


def test_refused_name_fails_by_policy(source: InParts, destination: Reads) -> None:
    """With ``refused_names="fail"`` a refused name is ``failed``, as in a copy."""
    with transfer_context(source, destination, refused_names="fail") as context:
        result = verify_object(context, task("a/../b"))
    assert result.status == "failed"
    assert result.reason.startswith("name_refused: ")


def test_object_with_a_problem_in_the_listing_fails(source: InParts, destination: Reads) -> None:
    """An object whose entry in the listing cannot be used is ``failed`` with that problem, without a request."""
    destination.failures = [AccessDenied(service="Azure", resource="b", code="c", cure="Grant read.")]
    listed = ListedObject(BUCKET, "k", "e", 7, EPOCH, problem="its size is negative")
    result = verified(source, destination, listed=listed)
    assert (result.status, result.reason, result.size_bytes) == ("failed", "its size is negative", 7)
    assert len(destination.failures) == 1


@pytest.mark.parametrize("checksum", ["crc64nvme", None])
def test_blob_written_meanwhile_is_not_judged(source: InParts, destination: Reads, checksum: str | None) -> None:
    """A blob that was written during the reading is ``failed``, also where the bytes that were read are equal."""
    source.put(BUCKET, "k", DATA, checksum=checksum)
    destination.write("k", DATA)
    destination.at_read = lambda: destination.write("k", DATA)
    result = verified(source, destination)
    assert (result.status, result.verified_by) == ("failed", "")
    assert result.reason == "the blob was written while it was read; verify again"


def test_blob_deleted_meanwhile_is_not_judged(destination: Reads) -> None:
    """A blob that was deleted during the reading is ``failed`` and not ``equal``."""

    class Deleting(MemorySource):
        def served(self, key: str, start: int, data: bytes) -> bytes:
            destination.blobs.pop("k", None)
            return data

    source = Deleting(BUCKET)
    source.put(BUCKET, "k", DATA, checksum=None)
    destination.write("k", DATA)
    assert verified(source, destination).status == "failed"


class TestParts:
    """A checksum over parts needs the parts' sizes, which S3 may only suggest."""

    @pytest.mark.parametrize(("blob", "status"), [(DATA, "equal"), (OTHER, "different")])
    def test_known_sizes(self, source: InParts, destination: Reads, blob: bytes, status: str) -> None:
        """Where S3 reports the sizes of all parts, the blob is read once."""
        source.put_parts(BUCKET, "k", DATA, PARTS)
        destination.write("k", blob)
        result = verified(source, destination)
        assert (result.status, result.verified_by) == (status, "crc32c_composite")
        assert result.checksum.endswith(f"-{len(PARTS)}")
        assert len(destination.ranges) == 1

    @pytest.mark.parametrize(("blob", "status"), [(DATA, "equal"), (OTHER, "different")])
    def test_sizes_guessed_wrong_are_looked_up(
        self, source: InParts, destination: Reads, blob: bytes, status: str
    ) -> None:
        """A mismatch under guessed sizes is judged only after every part was looked up and the blob read again."""
        source.put_parts(BUCKET, "k", DATA, PARTS)
        source.guess = PartSizes((350_000, 350_000, PARTS[2]), certain=False)
        destination.write("k", blob)
        result = verified(source, destination)
        assert (result.status, result.verified_by) == (status, "crc32c_composite")
        assert len(destination.ranges) == 2

    def test_sizes_guessed_right_are_not_looked_up(self, source: InParts, destination: Reads) -> None:
        """A match under guessed sizes is a match."""
        source.put_parts(BUCKET, "k", DATA, PARTS)
        source.guess = PartSizes(PARTS, certain=False)
        destination.write("k", DATA)
        assert verified(source, destination).status == "equal"
        assert len(destination.ranges) == 1

    def test_parts_of_this_version_are_looked_up(
        self, source: InParts, destination: Reads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The sizes are looked up for the version that is compared: first as S3 suggests them, then each part."""
        version = source.put_parts(BUCKET, "k", DATA, PARTS)
        source.guess = PartSizes((350_000, 350_000, PARTS[2]), certain=False)
        destination.write("k", DATA)
        asked, real = list[tuple[object, bool]](), source.part_sizes

        def part_sizes(version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
            asked.append((version, each))
            return real(version, each=each)

        monkeypatch.setattr(source, "part_sizes", part_sizes)
        assert verified(source, destination).status == "equal"
        assert asked == [(version, False), (version, True)]


def test_md5_needs_no_memory_for_the_object(source: InParts, destination: Reads) -> None:
    """An MD5 is computed while the blob streams, so it verifies objects that a copy could not verify by it."""
    data = bytes(MAX_SERIAL_BLOCK_BYTES + 1)
    source.put(BUCKET, "k", data, checksum=None)
    etag = checksums.etag_md5(source.head(BUCKET, "k").etag)
    assert etag is not None
    source.change(BUCKET, "k", weaker=(etag,))
    destination.write("k", data)
    result = verified(source, destination)
    assert (result.status, result.verified_by) == ("equal", "md5")
    assert source.opened == []


def test_etag_that_is_no_md5_is_not_compared(source: InParts, destination: Reads) -> None:
    """With ``etag_is_md5="no"`` both sides are read instead of comparing an ETag that looks like an MD5."""
    source.put(BUCKET, "k", DATA, checksum=None)
    source.change(BUCKET, "k", weaker=(SourceChecksum("md5", 1),))
    destination.write("k", DATA)
    with transfer_context(source, destination, fidelity=Fidelity(etag_is_md5="no")) as context:
        result = verify_object(context, task("k"))
    assert (result.status, result.verified_by) == ("equal", "reread")


def test_missing_object_fails_with_its_reason(source: InParts, destination: Reads) -> None:
    """An object that is gone is ``failed`` with the error's reason, under the size that the listing showed."""
    listed = ListedObject(BUCKET, "k", "e", 7, EPOCH + timedelta(days=1))
    result = verified(source, destination, listed=listed)
    assert result.status == "failed"
    assert result.reason.startswith("object_not_found: ")
    assert (result.etag, result.size_bytes) == ("e", 7)


@pytest.mark.parametrize(
    ("store", "request_name", "description"),
    [
        ("source", "head", "look up object 'k'"),
        ("source", "part_sizes", "look up the parts of 'k'"),
        ("destination", "head", "look up blob 'b'"),
        ("destination", "read", f"read bytes 0 to {len(DATA)} of blob 'b'"),
    ],
)
def test_transient_errors_are_repeated(
    source: InParts,
    destination: Reads,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    store: str,
    request_name: str,
    description: str,
) -> None:
    """Each request that fails once is sent again, and the log says which one it was."""
    source.put_parts(BUCKET, "k", DATA, PARTS)
    destination.write("b", DATA)
    real = getattr(source if store == "source" else destination, request_name)
    failures = [ConnectionFailed(service="S3", resource="k", detail="reset")]

    def fails_once(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(source if store == "source" else destination, request_name, fails_once)
    with caplog.at_level("WARNING"):
        assert verified(source, destination, blob="b").status == "equal"
    assert f" to {description} failed" in caplog.text


def test_refused_access_fails_at_once(source: InParts, destination: Reads) -> None:
    """A permanent error is not repeated."""
    source.put(BUCKET, "k", DATA)
    denied = AccessDenied(service="Azure", resource="k", code="AuthorizationFailure", cure="Grant read.")
    destination.failures = [denied, denied]
    result = verified(source, destination)
    assert result.status == "failed"
    assert result.reason.startswith("access_denied: ")
    assert destination.failures == [denied]


def test_stop_is_raised_and_no_result(source: InParts, destination: Reads) -> None:
    """A stop during the reading is no failure of the object."""
    source.put(BUCKET, "k", DATA)
    destination.write("k", DATA)
    stop = threading.Event()
    destination.at_read = stop.set
    with transfer_context(source, destination, cancelled=stop) as context, pytest.raises(Cancelled):
        verify_object(context, task("k"))


def test_result_as_dict_has_every_field() -> None:
    """The command line prints the result as JSON."""
    result = Verification(BUCKET, "k", "e", 1, "c", "b", "equal", verified_by=CRC64NVME.name, checksum="x")
    assert result.as_dict() == {
        "bucket": BUCKET,
        "key": "k",
        "etag": "e",
        "size_bytes": 1,
        "container": "c",
        "blob": "b",
        "status": "equal",
        "reason": "",
        "verified_by": "crc64nvme",
        "checksum": "x",
    }
