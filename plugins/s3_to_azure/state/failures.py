"""``failures.jsonl.gz``: the objects of a run that failed, one line for each, in the order of the listing."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from s3_to_azure.model.limits import MAX_KEY_BYTES
from s3_to_azure.model.names import REPORT_FAILURES_NAME
from s3_to_azure.state.lines import LinesWriter, Size, typed_lines

MOST_REASON = 2_000


class FailureLine(msgspec.Struct, frozen=True, gc=False):
    """A failed object, and which task's log has the details.

    Attributes:
        batch: Index of its batch; None if no batch holds it.
        try_number: The try of that batch's task.
    """

    key: Annotated[str, Meta(max_length=2 * MAX_KEY_BYTES)]
    reason: Annotated[str, Meta(max_length=MOST_REASON)]
    size_bytes: Size
    batch: Annotated[int, Meta(ge=0)] | None
    try_number: Annotated[int, Meta(ge=0, le=10**6)]


def add_failure(out: LinesWriter, failure: FailureLine) -> None:
    """Append a failure; half of a surrogate pair, which no UTF-8 can hold, is written as its escape."""
    key, reason = (text.encode("utf-8", "backslashreplace").decode() for text in (failure.key, failure.reason))
    values = msgspec.structs.asdict(failure)
    out.add(FailureLine(**values | {"key": key, "reason": reason[:MOST_REASON]}))


def read_failures(chunks: Iterable[bytes], *, location: str) -> Iterator[FailureLine]:
    """Yield the failures of a file, in constant memory.

    Args:
        chunks: The file's bytes.
        location: The folder of the file, for the error.

    Raises:
        CorruptState: A line is damaged.
        UnsupportedStateFormat: The file has another major version.
    """
    return typed_lines(FailureLine, chunks, path=f"{location}/{REPORT_FAILURES_NAME}")
