"""A 404 is no deletion until S3's own document says so and its listing confirms it."""

import pytest

from s3_to_azure.runs.report import Report
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.odd_s3 import Call, OddS3, Reply, error, no_such_key, served
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

PAGES = {
    "Traefik": Reply(404, (("Content-Type", "text/plain"), ("Content-Length", "19")), b"404 page not found\n"),
    "HTML": Reply(404, (("Content-Type", "text/html"), ("Content-Length", "26")), b"<html>Not Found</html>    "),
    "empty": Reply(404, (("Content-Length", "0"),)),
    "another code": error(404, "NoSuchUpload"),
}
SIZES = {"small": 15, "two blocks": 9 * 1024**2}


def run(s3: OddS3) -> tuple[Report, MemoryDestination]:
    """Migrate the bucket in one night."""
    destination = MemoryDestination()
    with served(s3) as source:
        report = Night(source, destination, MemoryState(), "bucket").report_of_run()
    return report, destination


def total(report: Report, status: str) -> int:
    """Return the number of objects of a status."""
    return report.total(status).objects


def reasons(report: Report) -> list[str]:
    """Return the codes of all reasons."""
    return [item["reason"] for item in report.summary()["reasons"]]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("size", SIZES)
def test_404_of_a_balancer_fails_the_object(size: str, page: str) -> None:
    """It says nothing about the object; the run must not be green."""
    s3 = OddS3({b"k": bytes(SIZES[size]), b"plain": b"plain"})
    s3.change = lambda call, reply: PAGES[page] if call.key == b"k" and call.name in ("head", "get") else reply
    report, _ = run(s3)
    assert (total(report, "copied"), total(report, "failed"), total(report, "skipped")) == (1, 1, 0)
    assert report.failed
    assert reasons(report) == ["unexpected_response"]


@pytest.mark.parametrize("size", SIZES)
def test_missing_object_that_is_still_listed_fails(size: str) -> None:
    """A gateway that normalises paths, or a replica that lags, would be green every night."""
    s3 = OddS3({b"k": bytes(SIZES[size])})
    s3.change = lambda call, reply: no_such_key() if call.name in ("head", "get") else reply
    report, _ = run(s3)
    assert (total(report, "failed"), total(report, "skipped"), report.failed) == (1, 0, True)


@pytest.mark.parametrize("size", SIZES)
def test_object_that_was_deleted_since_the_listing_is_skipped(size: str) -> None:
    """S3 says so, and lists it no more."""
    s3 = OddS3({b"k": bytes(SIZES[size]), b"kk": b"another"})

    def delete(call: Call, reply: Reply) -> Reply:
        if call.key == b"k":
            s3.objects.pop(b"k", None)
            return Reply(404, no_such_key().headers, b"" if call.name == "head" else no_such_key().body)
        return reply

    s3.change = delete
    report, _ = run(s3)
    assert (total(report, "copied"), total(report, "skipped"), report.failed) == (1, 1, False)
    assert reasons(report) == ["source_deleted"]


def test_missing_object_whose_listing_fails_is_not_skipped() -> None:
    """Nothing confirms that it was deleted."""
    s3 = OddS3({b"k": b"data"})

    def refuse(call: Call, reply: Reply) -> Reply:
        if call.name == "list" and call.query.get("prefix"):
            return error(403, "AccessDenied")
        return no_such_key() if call.key else reply

    s3.change = refuse
    report, _ = run(s3)
    assert (total(report, "failed"), total(report, "skipped"), report.failed) == (1, 0, True)
