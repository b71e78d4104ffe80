"""The plan as values, as lines for a person, and as an estimate of time and cost."""

from dataclasses import replace

import pytest
from msgspec import structs

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Amount
from s3_to_azure.planning.plan import (
    Plan,
    Requests,
    egress_dollars,
    fetched_requests_for,
    preview,
    preview_lines,
    request_dollars,
    requests_for,
)
from s3_to_azure.state.plan import BatchDescriptor

BATCH = BatchDescriptor("0" * 16, 0, 0, 50, "a" * 64, 2, 3_000_000, "objects")
PLAN = Plan(
    token="0" * 16,
    batches=(BATCH, structs.replace(BATCH, index=1, size_bytes=5)),
    listed=Amount(7, 4_000_000),
    copy=Amount(3, 3_000_005),
    unchanged=Amount(1, 5),
    skipped={"too_small": Amount(1, 1), "excluded": Amount(1, 2)},
    failed={"name_refused": Amount(1, 3)},
    only_in_destination=2,
    joined=True,
    refused_names=("a/../b",),
    mapped=1,
    mapped_names=(("x.", "x~2E"),),
    planning=Requests(s3_list=1, azure_list=1),
    copying=Requests(s3_get=1_000, azure_write=3),
)


def test_the_lines_name_every_decision() -> None:
    """Amounts, reasons, refused and mapped names, blobs without an object and requests each have their line."""
    assert list(PLAN.lines()) == [
        "Listed:    7 objects (3.8 MiB)",
        "To copy:   3 objects (2.9 MiB) in 2 tasks",
        "Unchanged: 1 object (5 bytes)",
        "Skipped:   1 object (2 bytes): excluded",
        "Skipped:   1 object (1 byte): too_small",
        "Cannot be copied: 1 object (3 bytes): name_refused",
        "Refused name: 'a/../b'",
        "Mapped name: 'x.' to 'x~2E'",
        "Only in Azure: 2 blobs, left alone",
        "Requests for planning: 1 S3 list, 1 Azure list",
        "Requests for copying: 1,000 S3 get, 3 Azure write",
    ]


def test_the_lines_leave_out_what_is_not_there() -> None:
    """A plan with nothing to copy names no tasks, no reasons and no blobs."""
    empty = Plan("0" * 16, (), Amount(), Amount(), Amount(), {}, {}, only_in_destination=None, joined=False)
    assert list(empty.lines()) == [
        "Listed:    0 objects (0 bytes)",
        "To copy:   0 objects (0 bytes)",
        "Unchanged: 0 objects (0 bytes)",
        "Requests for planning: none",
        "Requests for copying: none",
    ]


def test_the_lines_say_the_way_of_the_bytes() -> None:
    """Who fetches how much, why Azure does not fetch the rest, and what each way takes."""
    both = replace(
        PLAN,
        via="auto",
        fetched=Amount(2, 4 * 2**20),
        not_fetched={"sse_c": Amount(1, 5)},
        copying=Requests(azure_write=10),
        all_streamed=Requests(azure_write=7),
    )
    lines = list(preview_lines(both, rate_bytes_s=1))
    assert "By Azure:  2 objects (4.0 MiB), as far as S3 stores a CRC64NVME over all bytes" in lines
    assert "By worker: 1 object (5 bytes): sse_c: Azure cannot send the key that decrypts it (SSE-C)" in lines
    assert "Requests for copying if all were streamed: 7 Azure write" in lines
    assert lines[-1].startswith("Through the worker alone: the same for egress; here 3 more Azure writes")
    assert preview(both, rate_bytes_s=1)["estimate"]["azure_writes_saved"] == -3
    fewer = list(preview_lines(replace(both, all_streamed=Requests(azure_write=30)), rate_bytes_s=1))
    assert "here 20 fewer Azure writes" in fewer[-1]
    only = list(replace(both, via="azure").lines())
    assert any(line.startswith("Not fetched, so failing: 1 object (5 bytes): sse_c: ") for line in only)


@pytest.mark.parametrize(("size", "writes"), [(1, 2), (64, 2), (65, 5), (640, 21)])
def test_requests_of_a_fetched_copy(size: int, writes: int) -> None:
    """A write for each block and one for its note, but for a single block, whose CRC is known before; and the list."""
    requests = fetched_requests_for(size, block_bytes=64)
    assert (requests.azure_write, requests.s3_get) == (writes, 1 + -(-size // 64))


def test_warnings_name_what_needs_attention() -> None:
    """Each warning appears if and only if its cause does."""
    quiet = replace(PLAN, failed={}, mapped=0)
    assert quiet.warnings == ()
    refused = replace(quiet, failed={"name_refused": Amount(1, 1)}, skipped={"name_refused": Amount(2, 1)})
    (warning,) = refused.warnings
    assert warning.startswith("3 objects with a name that Azure refuses. Rename them")
    (warning,) = replace(quiet, mapped=2).warnings
    assert "2 objects with a name that Azure refuses, copied under a mapped name" in warning
    (warning,) = replace(quiet, archived=1).warnings
    assert warning == "1 object in an archive storage class. A copy fails unless the object is restored in S3 first."
    (warning,) = replace(quiet, rewritten=1).warnings
    assert warning.startswith("1 object written to S3 again with the same bytes")
    (warning,) = replace(quiet, joined=False).warnings
    assert "not listed in the same order" in warning


def test_the_summary_holds_no_name() -> None:
    """Keys and blob names stay out of XCom; only the preview has them."""
    summary, shown = PLAN.summary(), preview(PLAN, rate_bytes_s=1)
    assert "a/../b" not in str(summary)
    assert (shown["refused_names"], shown["mapped_names"]) == (["a/../b"], {"x.": "x~2E"})
    assert (shown["largest_batch_bytes"], shown["smallest_batch_bytes"]) == (3_000_000, 5)
    assert {name: shown[name] for name in summary} == summary


def test_a_preview_estimates_cost_and_time() -> None:
    """Bytes at a rate, all requests, dollars and the prices' date."""
    estimate = preview(PLAN, rate_bytes_s=1_000_000)["estimate"]
    assert estimate["seconds"] == 3.0
    assert estimate["requests"] == {
        "s3_list": 1,
        "s3_get": 1_000,
        "azure_list": 1,
        "azure_read": 0,
        "azure_write": 3,
    }
    assert "as of 20" in estimate["prices"]


def test_the_lines_of_a_preview_end_with_warnings_and_estimate() -> None:
    """A person reads the plan, then the warnings, then time and cost."""
    lines = list(preview_lines(PLAN, rate_bytes_s=1_000_000))
    plan = list(PLAN.lines())
    assert lines[: len(plan)] == plan
    assert lines[len(plan) :] == [
        *(f"warning: {warning}" for warning in PLAN.warnings),
        "Time: about 3.0 s at 976.6 KiB/s",
        (
            "S3 charges: about $0.00 for egress and $0.00 for requests "
            "(AWS list prices, us-east-1, as of 2026-11; without retrieval fees)"
        ),
    ]
    assert len(PLAN.warnings) == 2


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_refused(rate: float) -> None:
    """An estimate needs a rate above 0, as JSON and as lines."""
    with pytest.raises(UsageError):
        preview(PLAN, rate_bytes_s=rate)
    with pytest.raises(UsageError):
        list(preview_lines(PLAN, rate_bytes_s=rate))


@pytest.mark.parametrize(
    ("size_bytes", "dollars"),
    [(0, 0.0), (10**12, 90.0), (10_240 * 10**9, 921.6), (11_240 * 10**9, 1_006.6)],
)
def test_egress_is_priced_in_tiers(size_bytes: int, dollars: float) -> None:
    """The first 10 TB cost more per byte than the next."""
    assert egress_dollars(size_bytes) == pytest.approx(dollars)


def test_only_requests_to_s3_are_charged_by_s3() -> None:
    """A thousand list requests and a thousand reads have their list price; Azure's requests do not count."""
    assert request_dollars(Requests(s3_list=1_000, s3_get=1_000, azure_write=10**6)) == pytest.approx(0.0054)


@pytest.mark.parametrize(
    ("size_bytes", "destination_known", "requests"),
    [
        (0, True, Requests(s3_get=1, azure_write=1)),
        (MIB, True, Requests(s3_get=1, azure_write=1)),
        (MIB, False, Requests(s3_get=1, azure_read=1, azure_write=1)),
        (MIB + 1, True, Requests(s3_get=3, azure_read=2, azure_write=3)),
    ],
)
def test_requests_are_those_of_the_copy(size_bytes: int, destination_known: bool, requests: Requests) -> None:
    """A small object costs one GET and one Put Blob; blocks also cost a HEAD, a block list and the commit."""
    assert requests_for(size_bytes, block_bytes=MIB, destination_known=destination_known) == requests


def test_requests_add_and_multiply() -> None:
    """Sums and multiples hold for each kind."""
    one = Requests(1, 2, 3, 4, 5)
    assert one.plus(one) == one.times(2) == Requests(2, 4, 6, 8, 10)
