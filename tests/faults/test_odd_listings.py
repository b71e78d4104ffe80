"""Stores list odd values, names and pages: every other object is copied, and each listed object is accounted for."""

from urllib.parse import quote

import pytest

from s3_to_azure.model.errors import UnexpectedResponse
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.report import Report
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.odd_s3 import Call, OddS3, Reply, listing_document, served, xml
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

PLAIN = b"plain object"


def run(s3: OddS3, *, prefix: str = "", **settings: str) -> tuple[dict[str, bytes], Report]:
    """Migrate the bucket in one night; return the blobs and the report."""
    destination = MemoryDestination()
    plan = PlanSettings(s3_prefix=prefix, blob_prefix="", **settings)  # type: ignore[arg-type]  # texts that the tests choose
    with served(s3) as source:
        _, _, report = Night(source, destination, MemoryState(), "bucket", plan).run()
    listed = list(destination.list(""))
    return {blob.name: destination.read(blob.name, 0, blob.size_bytes) for blob in listed}, report


def counts(report: Report) -> dict[str, int]:
    """Return the number of objects of each final status."""
    statuses = ("copied", "unchanged", "skipped", "failed")
    found = {status: report.total(status).objects for status in statuses}
    return {status: count for status, count in found.items() if count}


ENTRY = "<Contents><Key>odd</Key><LastModified>{time}</LastModified><ETag>{etag}</ETag><Size>{size}</Size></Contents>"
USUAL = {"time": "2026-01-02T03:04:05.000Z", "etag": "&quot;abc&quot;", "size": "3"}


@pytest.mark.parametrize(
    "odd",
    [{"etag": ""}, {"etag": 'W/"abc"'}, {"size": ""}, {"size": str(50 * 1024**4)}, {"time": ""}, {"time": "soon"}],
)
def test_object_with_an_odd_value_gets_its_own_failed_receipt(odd: dict[str, str]) -> None:
    """The migration goes on, and the report fails the run."""
    s3 = OddS3({b"odd": b"abc", b"plain": PLAIN}, entries={b"odd": ENTRY.format(**USUAL | odd)})
    blobs, report = run(s3)
    assert blobs == {"plain": PLAIN}
    assert (counts(report), report.failed) == ({"copied": 1, "failed": 1}, True)


def test_storage_class_that_aws_does_not_know_is_copied() -> None:
    """MinIO lists the names of its own tiers."""
    entry = ENTRY.format(**USUAL).replace("</Size>", "</Size><StorageClass>WARM-MINIO-1</StorageClass>")
    s3 = OddS3({b"odd": b"abc", b"plain": PLAIN}, {b"odd": '"abc"'}, entries={b"odd": entry})
    blobs, report = run(s3)
    assert blobs == {"odd": b"abc", "plain": PLAIN}
    assert counts(report) == {"copied": 2}


NAMES = [b"caf\xe8", b"caf\xe9", b"\xff/\xfe", "caf\u00e9".encode(), b"plain"]


@pytest.mark.parametrize(("policy", "status"), [("fail", "failed"), ("skip", "skipped"), ("map", "failed")])
def test_names_that_are_not_utf8_are_accounted_for_by_policy(policy: str, status: str) -> None:
    """No request can carry them; none is merged with another, or lost."""
    blobs, report = run(OddS3({name: name for name in NAMES}), refused_names=policy)
    assert blobs == {"caf\u00e9": "caf\u00e9".encode(), "plain": b"plain"}
    assert (counts(report), report.listed.objects) == ({"copied": 2, status: 3}, 5)


def test_second_night_with_names_that_are_not_utf8_copies_nothing() -> None:
    """The names do not break the order that lets two listings be joined."""
    destination = MemoryDestination()
    with served(OddS3({name: name for name in NAMES})) as source:
        for _ in range(2):
            plan, _, report = Night(source, destination, MemoryState(), "bucket").run()
    assert plan.joined
    assert counts(report) == {"unchanged": 2, "failed": 3}


def test_key_beyond_s3s_length_fails_alone() -> None:
    """MinIO and Ceph accept longer keys than S3 and Azure."""
    blobs, report = run(OddS3({b"k" * 1_100: b"abc", b"plain": PLAIN}))
    assert blobs == {"plain": PLAIN}
    assert counts(report) == {"copied": 1, "failed": 1}


class PlusStays(OddS3):
    """Encodes a space as %20, and a plus not at all."""

    def entry(self, name: bytes) -> str:
        """Return the entry of an object in a listing."""
        from_key, _, rest = super().entry(name).partition("</Key>")
        return f"<Contents><Key>{quote(name, safe='/+')}</Key>{rest}" if from_key else ""


@pytest.mark.parametrize("store", [OddS3, PlusStays])
@pytest.mark.parametrize("names", [[b"a b"], [b"a+b"], [b"a b", b"a+b"], [b"a b", b"a+b", b"a%2Bb", b"a%20b"]])
def test_plus_and_space_in_keys_are_copied_from_each_store(store: type[OddS3], names: list[bytes]) -> None:
    """Also where a page alone does not show what its plus means."""
    blobs, report = run(store({name: name for name in names}, page_keys=1))
    assert blobs == {name.decode(): name for name in names}
    assert counts(report) == {"copied": len(names)}


class Version1(OddS3):
    """Knows ListObjects only, and ignores list-type=2."""

    def listing(self, query: dict[str, str]) -> str:  # type: ignore[override]  # a dictionary is a mapping
        """Return a page of ListObjects."""
        marker = query.get("marker", "").encode()
        names = sorted(name for name in self.objects if name > marker)
        is_last = len(names) <= self.page_keys
        return listing_document(
            f"<Marker>{quote(marker)}</Marker><EncodingType>url</EncodingType>",
            f"<IsTruncated>{'false' if is_last else 'true'}</IsTruncated>",
            *(self.entry(name) for name in names[: self.page_keys]),
        )


def test_store_that_lists_with_version_1_only_is_listed_to_its_end() -> None:
    """Its pages continue after a marker, which may have any characters."""
    objects = {name: name for name in (b"a b", b"a+b", "\u00e9\u4e2d".encode(), b"z", b"z&<>")}
    s3 = Version1(objects, page_keys=2)
    blobs, report = run(s3)
    assert blobs == {name.decode(): name for name in objects}
    assert counts(report) == {"copied": 5}
    assert [call.name for call in s3.calls if call.name.startswith("list")] == ["list", "list v1", "list v1"]


class SameToken(OddS3):
    """Repeats its first page, with the same token."""

    def listing(self, query: dict[str, str]) -> str:  # type: ignore[override]  # a dictionary is a mapping
        """Return the first page."""
        return super().listing({**query, "continuation-token": "0"})


class NewTokens(SameToken):
    """Repeats its first page, each time with a new token."""

    def listing(self, query: dict[str, str]) -> str:  # type: ignore[override]  # a dictionary is a mapping
        """Return the first page."""
        return super().listing(query).replace(">1</Next", f">{len(self.calls)}</Next")


@pytest.mark.parametrize("store", [SameToken, NewTokens])
def test_listing_that_repeats_itself_is_refused(store: type[OddS3]) -> None:
    """It would never end."""
    with pytest.raises(UnexpectedResponse, match="repeats a page or its continuation token"):
        run(store({b"a": b"1", b"b": b"2"}, page_keys=1))


def test_objects_outside_of_the_prefix_are_ignored() -> None:
    """A store that ignores the prefix lists the whole bucket; nobody asked for the others."""

    def whole_bucket(call: Call, reply: Reply) -> Reply:
        return xml(200, s3.listing({})) if call.name == "list" else reply

    s3 = OddS3({b"logs/plain": PLAIN, b"other/plain": PLAIN}, change=whole_bucket)
    blobs, report = run(s3, prefix="logs/")
    assert blobs == {"plain": PLAIN}
    assert report.listed.objects == 1
