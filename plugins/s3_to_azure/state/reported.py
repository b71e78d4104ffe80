"""The lines of a report's ``receipts.jsonl.gz``, as certificates and comparisons read them."""

import json
from datetime import datetime, timedelta
from typing import Final

import msgspec

from s3_to_azure.model.objects import Receipt


class ReportedReceipt(msgspec.Struct, frozen=True, gc=False):
    """What is read of a receipt; it has more fields."""

    key: str
    status: str
    size_bytes: int
    etag: str = ""
    checksum: str = ""
    verified_by: str = ""
    started_at: str = ""
    seconds: float = 0.0

    def times(self) -> tuple[datetime, datetime] | None:
        """Return when the copy began and ended; None if nothing was copied."""
        return times_of(self)


def times_of(receipt: "ReportedReceipt | Receipt") -> tuple[datetime, datetime] | None:
    """Return when a copy began and ended, by its worker's clock; None if the receipt does not say it."""
    try:
        began = datetime.fromisoformat(receipt.started_at)
        return (began, began + timedelta(seconds=receipt.seconds)) if began.tzinfo else None
    except (ValueError, OverflowError):
        return None


_READ: Final = msgspec.json.Decoder(ReportedReceipt).decode


def read_reported(line: bytes) -> ReportedReceipt | None:
    """Return the receipt of a line; None if it is none."""
    try:
        return _READ(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        # A key may hold half of a surrogate pair, which only this reader accepts.
        return msgspec.convert(json.loads(line), ReportedReceipt)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
