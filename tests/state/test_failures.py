"""The file of failed objects: written by the report, read line by line."""

import io

import pytest

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.state.failures import MOST_REASON, FailureLine, add_failure, read_failures
from s3_to_azure.state.lines import LinesWriter


def written(*failures: FailureLine) -> bytes:
    """Return the file."""
    out = io.BytesIO()
    lines = LinesWriter(out)  # type: ignore[arg-type]
    for failure in failures:
        add_failure(lines, failure)
    lines.end_member()
    return out.getvalue()


def test_what_is_written_is_read() -> None:
    """Fields, order and keys of any characters survive; a reason that is too long is cut."""
    failures = [
        FailureLine("a\n<b>", "object_archived: it is", 5, 3, 2),
        FailureLine("\u65e5\u672c", "unplanned", 0, None, 0),
        FailureLine("long", "x" * (MOST_REASON + 1), 1, 0, 1),
    ]
    found = list(read_failures([written(*failures)], location="here"))
    assert found[:2] == failures[:2]
    assert found[2].reason == "x" * MOST_REASON


def test_half_of_a_surrogate_pair_is_shown_as_its_escape() -> None:
    """One such key would make the whole file unreadable."""
    (found,) = read_failures([written(FailureLine("a\ud800", "b\udc80", 1, None, 1))], location="here")
    assert (found.key, found.reason) == ("a\\ud800", "b\\udc80")


def test_a_damaged_file_says_where_it_is() -> None:
    """The error names the file."""
    with pytest.raises(CorruptState, match=r"here/failures\.jsonl\.gz"):
        list(read_failures([written(FailureLine("a", "b", 1, None, 1))[:-4]], location="here"))
