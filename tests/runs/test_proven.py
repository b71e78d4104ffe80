"""The report's first line: how much is proven, by what, and what would prove the rest."""

import pytest

from s3_to_azure.model.objects import Amount
from s3_to_azure.model.options import VERIFICATION_LEVELS
from s3_to_azure.runs.proven import UNRECORDED, ProvenAmounts, is_proof
from tests.runs.planned_run import PlannedRun

GIB = 1 << 30


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ({}, "nothing: no object is in Azure"),
        (
            {"crc64nvme": Amount(1_000, 5 * GIB), "md5": Amount(2, 1)},
            "1,002 objects (5.0 GiB) of 1,002 in Azure: 1,000 by crc64nvme, 2 by md5",
        ),
        (
            {"crc64nvme+readback": Amount(1, 1), "transport": Amount(1_204, 3 * GIB)},
            (
                "1 object (1 byte) of 1,205 in Azure: 1 by crc64nvme+readback. Not proven: 1,204 objects (3.0 GiB) "
                "only by transport, since S3 stores no checksum. "
                "A checksum report would prove what S3 has no checksum of (docs/checksum-reports.md); "
                "`s3-to-azure verify` proves these by reading both sides"
            ),
        ),
        (
            {UNRECORDED: Amount(3, 30), "transport+readback": Amount(1, 1), "": Amount(1, 1)},
            (
                "0 objects (0 bytes) of 5 in Azure. Not proven: 1 object (1 byte) only by transport, since S3 stores "
                "no checksum; 4 objects (31 bytes) without a recorded level. "
                "A checksum report would prove what S3 has no checksum of (docs/checksum-reports.md); "
                "`s3-to-azure verify` proves these by reading both sides"
            ),
        ),
    ],
)
def test_the_line(levels: dict[str, Amount], text: str) -> None:
    """Every level but `transport` is a proof; what no blob records is none."""
    assert ProvenAmounts(levels).text() == text


def test_every_level_but_the_last_is_a_proof() -> None:
    """A level that is added to the list counts by its place."""
    assert [level for level in VERIFICATION_LEVELS if not is_proof(level)] == ["transport"]


def test_it_is_the_first_line_of_the_report() -> None:
    """In the log, and in the summary that the page shows."""
    run = PlannedRun(2)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000"), run.receipt("0001"))
    report = run.report()
    text = "2 objects (6 bytes) of 2 in Azure: 2 by crc64nvme"
    assert next(iter(report.lines())) == f"Proven:    {text}"
    assert report.summary()["proven"] == text
