"""Checksum reports of S3 Batch Operations: the documented form is read, and all else is refused by name."""

import gzip
import hashlib
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import pytest

from s3_to_azure.model.errors import AccessDenied, ObjectNotFound, PermanentError, UsageError
from s3_to_azure.model.objects import ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.planning.checksum_report import ChecksumReport, open_report
from s3_to_azure.state.manifest import read_manifest, write_manifest
from tests.checksum_reports import Report, as_csv, failed_row, message_text, result, row
from tests.fakes.contexts import crc
from tests.fakes.memory_source import EPOCH, MemorySource
from tests.fakes.state_memory import MemoryState

BUCKET: Final = "bucket"
REPORTS: Final = "reports"
DATA: Final = b"the bytes"
PROVEN: Final = SourceChecksum("crc64nvme", crc(DATA), reported=True)


@contextmanager
def opened(
    report: Report,
    *,
    bucket: str = BUCKET,
    prefix: str = "in/",
    version_id: str | None = None,
    without: str = "",
) -> Iterator[ChecksumReport]:
    """Upload a report, without one of its files, and open it."""
    source = MemorySource(BUCKET, REPORTS)
    for key, data in report.objects().items():
        if not without or not key.endswith(without):
            source.put(REPORTS, key, data, checksum=None)
    retrier = Retrier(RetryBudget(attempts=1), threading.Event())
    at = S3Uri(REPORTS, report.manifest_key)
    with open_report(at, source, retrier, bucket=bucket, prefix=prefix, version_id=version_id) as found:
        yield found


def listed(key: str = "in/a", etag: str = "e1", **changes: Any) -> ListedObject:
    """Return an object as a listing shows it."""
    return ListedObject(BUCKET, key, etag, len(DATA), EPOCH, **changes)


def report_of(*rows: list[str]) -> Report:
    """Return a report of one file."""
    return Report(REPORTS).add("a.csv", rows)


def good_row(key: str = "in/a", etag: str = "e1", data: bytes = DATA, **changes: Any) -> list[str]:
    """Return a row of an object."""
    version = changes.pop("version", "")
    return row(BUCKET, key, result(data, etag=etag, **changes), version=version)


def test_the_documented_example_is_read() -> None:
    """The row of the user guide, byte for byte."""
    data = (
        rb"""bucket,s3-standard-1mb-test-object,,succeeded,200,,"{""checksum_base64"":""bS9TOQ\u003d\u003d"","""
        rb"""""etag"":""3c3c1813042989094598e4b57ecbdc82"",""checksumAlgorithm"":""CRC32"","""
        rb"""""checksumType"":""FULL_OBJECT"",""checksum_hex"":""6D2F5339""}" """.strip()
        + b"\n"
    )
    report = report_of()
    report.files["a.csv"] = data
    report.manifest["Results"][0]["MD5Checksum"] = hashlib.md5(data).hexdigest()
    with opened(report, prefix="") as found:
        one = listed("s3-standard-1mb-test-object", "3c3c1813042989094598e4b57ecbdc82")
        assert found.complete(one).reported == SourceChecksum("crc32", 0x6D2F5339, reported=True)


def test_only_exactly_this_version_is_proven() -> None:
    """By key and ETag; what is stale proves nothing and is counted, and so is what the job could not read."""
    report = report_of(good_row(), good_row("in/b", "old"), good_row("elsewhere/c")).add(
        "b.csv", [failed_row(BUCKET, "in/d")], status="failed"
    )
    with opened(report) as found:
        assert found.complete(listed()).reported == PROVEN
        for other in (listed("in/b", "new"), listed("in/d"), listed("elsewhere/c"), listed("in/z")):
            assert found.complete(other) is other
        shown = listed("in/a", "-", problem="no such object")
        assert found.complete(shown) is shown
        assert (found.rows, found.failed, found.proven, found.stale) == (4, 1, 1, 1)
        assert found.text() == (
            "The checksum report s3://reports/reports/job-f8fb9d89/manifest.json has 4 rows: 1 of listed objects, 1 of "
            "objects that the job failed on; 1 listed object only in other versions, which proves nothing"
        )


ACCESS_POINTS = [
    "arn:aws:s3:eu-central-1:111122223333:accesspoint/daily",
    "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap",
    "arn:aws:s3-outposts:eu-central-1:111122223333:outpost/op-01ac/accesspoint/daily",
    "daily-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias",
]


@pytest.mark.parametrize("bucket", ACCESS_POINTS)
def test_an_access_point_does_not_tell_its_bucket(bucket: str) -> None:
    """Its report is of any one bucket, which the log names; what is read must have the checksum anyway."""
    with opened(report_of(good_row()), bucket=bucket) as found:
        assert found.complete(listed()).reported == PROVEN
        assert "1 row of the bucket bucket: 1 of listed objects" in found.text()
    theirs = good_row("in/b")
    theirs[0] = "theirs"
    with (
        pytest.raises(UsageError, match="is of the bucket 'theirs' instead of 'bucket'"),
        opened(report_of(good_row(), theirs), bucket=bucket),
    ):
        pass


@pytest.mark.parametrize(
    "bucket",
    [
        "arn:aws:s3-object-lambda:eu-central-1:111122223333:accesspoint/daily",
        "daily-a1a4tole5kxibhbgbmthgqp3euc1--ol-s3",
    ],
)
def test_a_report_says_nothing_of_what_a_function_makes(bucket: str) -> None:
    """Objects through S3 Object Lambda need not be those that the job has read."""
    with (
        pytest.raises(UsageError, match="is an access point of S3 Object Lambda"),
        opened(report_of(good_row()), bucket=bucket),
    ):
        pass


@pytest.mark.parametrize(
    ("version", "named", "counts"),
    [("", None, True), ("v1", None, True), ("", "v1", True), ("v1", "v1", True), ("v2", "v1", False)],
)
def test_a_named_version(version: str, named: str | None, counts: bool) -> None:
    """A row of another version proves nothing; without a named version the ETag alone pins the bytes."""
    with opened(report_of(good_row(version=version)), version_id=named) as found:
        assert (found.complete(listed()).reported is not None) is counts
        assert found.stale == (not counts)


@pytest.mark.parametrize(
    "key", ["in/a b", "in/a+b", "in/a%2Bb", "in/ключ/日本", 'in/quo"te,', "in/line\nbreak", "in/%"]
)
@pytest.mark.parametrize("encoded", [True, False])
def test_keys_of_any_kind(key: str, encoded: bool) -> None:
    """URL-encoded, as the manifest of a job has them, or as they are."""
    one = good_row(key)
    if not encoded:
        one[1] = key
    with opened(report_of(one)) as found:
        assert found.complete(listed(key)).reported == PROVEN


def test_two_spellings_do_not_mix() -> None:
    """Of rows whose keys may be of two objects, the ETag decides."""
    with opened(report_of(good_row("in/a b", "e1"), good_row("in/a+b", "e2", b"other"))) as found:
        assert found.complete(listed("in/a b", "e1")).reported == PROVEN
        other = found.complete(listed("in/a+b", "e2")).reported
        assert other == SourceChecksum("crc64nvme", crc(b"other"), reported=True)


def test_the_preferred_algorithm_is_taken() -> None:
    """Of two jobs' rows in one report; a row that comes twice is one."""
    rows = [good_row(algorithm=name) for name in ("SHA256", "CRC32C", "CRC32C", "MD5", "XXHASH128", "SHA512")]
    with opened(report_of(*rows)) as found:
        assert found.complete(listed()).reported == SourceChecksum("crc32c", crc(DATA, "crc32c"), reported=True)


def changed(**changes: Any) -> Report:
    """Return a report whose only row has another message."""
    return report_of(good_row(**changes))


def without_field(name: str) -> Report:
    """Return a report whose only message lacks a field."""
    message = result(DATA, etag="e1")
    del message[name]
    return report_of(row(BUCKET, "in/a", message))


def with_manifest(**changes: Any) -> Report:
    """Return a report whose manifest says something else."""
    report = report_of(good_row())
    report.manifest |= changes
    return report


def with_file(**changes: Any) -> Report:
    """Return a report whose manifest says something else of its file."""
    report = report_of(good_row())
    report.manifest["Results"][0] |= changes
    return report


def with_data(change: Callable[[bytes], bytes], *, matching: bool = False) -> Report:
    """Return a report whose file was changed, with its MD5 or without."""
    report = report_of(good_row(), good_row("in/b"))
    data = report.files["a.csv"] = change(report.files["a.csv"])
    if matching:
        report.manifest["Results"][0]["MD5Checksum"] = hashlib.md5(data).hexdigest()
    return report


def cells(*values: str) -> list[str]:
    """Return a row with other cells than a job writes."""
    return [*values, *good_row()[len(values) :]]


TAMPERED: Final[dict[str, tuple[Callable[[], Report], str]]] = {
    "wrong MD5": (lambda: with_file(MD5Checksum="0" * 32), "is not the one that S3 wrote: its MD5 is"),
    "MD5 of another form": (lambda: with_file(MD5Checksum="x"), "is not the one that S3 wrote"),
    "one bit": (lambda: with_data(lambda data: data.replace(b"in/b", b"in/c")), "is not the one that S3 wrote"),
    "truncated": (lambda: with_data(lambda data: data[:-40]), "is not the one that S3 wrote"),
    "truncated in a line break": (lambda: with_data(lambda data: data[: data.index(b"\n")]), "is not the one"),
    "truncated, with its MD5": (lambda: with_data(lambda data: data[:-40], matching=True), "is no CSV in UTF-8"),
    "compressed": (lambda: with_data(gzip.compress, matching=True), "line 1 .* is compressed"),
    "truncated gzip": (lambda: with_data(lambda data: gzip.compress(data)[:-9]), "is not the one that S3 wrote"),
    "no UTF-8": (lambda: with_data(lambda data: data.replace(b"in/b", b"in/\xff"), matching=True), "is no CSV in UTF"),
    "endless line": (lambda: with_data(lambda data: data + b"x" * 2_000_000, matching=True), "more than 65,536 bytes"),
    "empty cell text": (lambda: report_of(good_row(), ["x"]), "line 2 .* has 1 columns instead of 7"),
    "foreign columns": (lambda: report_of([*good_row(), "more"]), "has 8 columns instead of 7"),
    "an inventory": (lambda: report_of([BUCKET, "in/a", "3", "2026-01-01"]), "has 4 columns instead of 7"),
    "foreign schema": (lambda: with_manifest(ReportSchema="Bucket, Key"), "ReportSchema is 'Bucket, Key' instead of"),
    "foreign format": (lambda: with_manifest(Format="Report_CSV_2030"), "Format is 'Report_CSV_2030' instead of"),
    "no manifest": (lambda: with_manifest(Results="x"), "is no manifest.json of a completion report"),
    "no files": (lambda: with_manifest(Results=[]), "names no file"),
    "file in another bucket": (lambda: with_file(Bucket="theirs"), "is in another bucket, 'theirs'"),
    "unknown file status": (lambda: with_file(TaskExecutionStatus="odd"), "has the status 'odd'"),
    "missing file": (lambda: with_file(Key="reports/gone.csv"), "'reports/gone.csv' does not exist"),
    "other bucket": (lambda: report_of(cells("theirs")), "is of the bucket 'theirs' instead of 'bucket'"),
    "unknown status": (lambda: report_of(cells(BUCKET, "in/a", "", "maybe")), "has the status 'maybe'"),
    "another operation": (lambda: report_of([*good_row()[:6], "{u'CopySourceVersionId': 1}"]), "ResultMessage"),
    "message of another kind": (lambda: report_of([*good_row()[:6], "[]"]), "has a ResultMessage that is not"),
    "bad base64": (lambda: changed(checksum_base64="rosUhgp5mIg"), "'rosUhgp5mIg', which is no CRC64NVME in base64"),
    "base64 of another width": (lambda: changed(checksum_base64="y/Q5Jg=="), "is no CRC64NVME in base64"),
    "other hex": (lambda: changed(checksum_hex="AE8B14860A799888"), "different checksums in base64 and in hex"),
    "composite": (lambda: changed(checksumType="COMPOSITE"), "of the type 'COMPOSITE'.*FULL_OBJECT is needed"),
    "composite value": (lambda: changed(checksum_base64="rosUhgp5mIg=-3"), "is no CRC64NVME in base64"),
    "unknown algorithm": (lambda: changed(checksumAlgorithm="SHA3"), "unknown algorithm 'SHA3'"),
    "no ETag": (lambda: changed(etag=""), "has no ETag"),
    "ETag with a line break": (lambda: changed(etag="a\nb"), "has no ETag"),
    **{
        f"without {name}": (partial(without_field, name), "ResultMessage")
        for name in ("checksum_base64", "etag", "checksumAlgorithm", "checksumType")
    },
    "contradicting": (
        lambda: report_of(good_row(), good_row("in/b"), good_row(data=b"other")),
        "two different checksums of 'in/a', ETag e1",
    ),
    "contradicting in another file": (
        lambda: report_of(good_row()).add("b.csv", [good_row(data=b"other")]),
        "two different checksums of 'in/a', ETag e1",
    ),
    "outside the prefix too": (lambda: report_of(good_row("elsewhere/a", checksumType="COMPOSITE")), "COMPOSITE"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_no_job_wrote_is_refused_by_name(name: str) -> None:
    """As a whole, permanently, with what to do."""
    make, text = TAMPERED[name]
    with pytest.raises(UsageError, match=text) as caught, opened(make()):
        pass
    assert str(caught.value).startswith("The checksum report s3://reports/reports/job-f8fb9d89/manifest.json cannot be")
    assert "make a new job (docs/checksum-reports.md)" in str(caught.value)
    assert isinstance(caught.value, PermanentError)
    assert len(str(caught.value)) < 900


def test_a_report_that_does_not_exist_is_named() -> None:
    """The address is wrong, or the job has not ended."""
    with pytest.raises(ObjectNotFound, match=r"manifest\.json"), opened(report_of(), without="manifest.json"):
        pass


def test_a_manifest_that_is_none() -> None:
    """Some other object, whatever its size."""
    source = MemorySource(BUCKET, REPORTS)
    for data in (b"", b"hello", b"[" * 100_000, b"x" * (16 * 1024 * 1024 + 1)):
        source.put(REPORTS, "m", data, checksum=None)
        retrier = Retrier(RetryBudget(attempts=1), threading.Event())
        with (
            pytest.raises(UsageError, match=r"is no manifest\.json"),
            open_report(S3Uri(REPORTS, "m"), source, retrier, bucket=BUCKET, prefix=""),
        ):
            pass


def test_a_refusal_of_s3_passes_as_it_is() -> None:
    """It has its own cure."""

    class Refusing(MemorySource):
        def head(self, bucket: str, key: str) -> ObjectVersion:
            if key.endswith(".csv"):
                raise AccessDenied(service="S3", resource=key, code="AccessDenied", cure="Allow it.")
            return super().head(bucket, key)

    source = Refusing(BUCKET, REPORTS)
    report = report_of(good_row())
    source.put(REPORTS, report.manifest_key, report.objects()[report.manifest_key], checksum=None)
    retrier = Retrier(RetryBudget(attempts=1), threading.Event())
    with (
        pytest.raises(AccessDenied),
        open_report(S3Uri(REPORTS, report.manifest_key), source, retrier, bucket=BUCKET, prefix=""),
    ):
        pass


def test_a_listing_carries_the_checksums_into_its_manifest() -> None:
    """Each object's own, in any order of the report's rows."""
    keys = [f"in/{number:03}" for number in range(300)]
    rows = [good_row(key, f"e{key}", key.encode()) for key in reversed(keys[::2])]
    with opened(report_of(*rows)) as found:
        objects = (listed(key, f"e{key}") for key in keys)
        files = MemoryState()
        pointer = write_manifest(objects, files, bucket=BUCKET, prefix="in/", completed=found.complete)
    read = {each.key: each.reported for each in read_manifest(files, pointer)}
    assert read == {
        key: SourceChecksum("crc64nvme", crc(key.encode()), reported=True) if not number % 2 else None
        for number, key in enumerate(keys)
    }


def test_memory_does_not_grow_with_the_report() -> None:
    """Ten times the rows take no more memory of Python's."""

    def peak(count: int) -> int:
        message = message_text(result(DATA, etag="e1"))
        lines = as_csv(
            [BUCKET, f"in/{number * 7_919 % count:0900}", "", "succeeded", "200", "", message]
            for number in range(count)
        )
        report = report_of()
        report.files["a.csv"] = lines
        report.manifest["Results"][0]["MD5Checksum"] = hashlib.md5(lines).hexdigest()
        source = MemorySource(BUCKET, REPORTS)
        for key, data in report.objects().items():
            source.put(REPORTS, key, data, checksum=None)
        retrier = Retrier(RetryBudget(attempts=1), threading.Event())
        tracemalloc.start()
        with open_report(S3Uri(REPORTS, report.manifest_key), source, retrier, bucket=BUCKET, prefix="in/") as found:
            assert found.rows == count
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    # A piece of the file is 1 MiB.
    small = peak(4_000)
    assert peak(12_000) < 1.3 * small


def test_the_helper_writes_the_documented_form() -> None:
    """The tests' own reports are those of the user guide."""
    objects = report_of(good_row()).objects()
    manifest = json.loads(objects["reports/job-f8fb9d89/manifest.json"])
    assert set(manifest) == {"Format", "ReportCreationDate", "Results", "ReportSchema"}
    assert set(manifest["Results"][0]) == {"TaskExecutionStatus", "Bucket", "MD5Checksum", "Key"}
    assert b"\\u003d" in objects["reports/job-f8fb9d89/results/a.csv"]
