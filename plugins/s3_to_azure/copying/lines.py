"""The lines that a copy task leaves in its log."""

from collections.abc import Mapping
from typing import Any

from s3_to_azure.model.formatting import count_text, duration_text, size_text
from s3_to_azure.model.objects import Receipt


def summary_line(summary: Mapping[str, Any]) -> str:
    """Return the closing line of a prefix or a batch."""
    seconds = summary["seconds"]
    rate = summary["bytes_sent"] / seconds if seconds else 0
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.get("reasons", {}).items()))
    statuses = ("copied", "unchanged", "skipped", "failed", "staged", "done_before")
    counts = ", ".join(
        f"{summary[status]:,} {status.replace('_', ' ')}"
        for status in statuses
        if summary.get(status) or status in statuses[:4]
    )
    return (
        f"{count_text(summary['objects'], 'object')}: {counts}"
        + (f" ({reasons})" if reasons else "")
        + f"; {size_text(summary['bytes_sent'])} sent in {duration_text(seconds)} ({size_text(rate)}/s)"
        + (f", {size_text(summary['bytes_resumed'])} were in Azure already" if summary["bytes_resumed"] else "")
    )


def receipt_line(receipt: Receipt) -> str:
    """Return what became of the only object."""
    if receipt.status != "copied":
        return f"{receipt.key!r} is {receipt.status}" + (f": {receipt.reason}" if receipt.reason else "")
    rate = receipt.bytes_sent / receipt.seconds if receipt.seconds else 0
    return (
        f"Copied {receipt.key!r}: {size_text(receipt.bytes_sent)} sent in {duration_text(receipt.seconds)} "
        f"({size_text(rate)}/s), {receipt.blocks_resumed:,} of {count_text(receipt.blocks, 'block')} were in Azure "
        f"already, verified by {receipt.verified_by}"
    )


def which_try(number: int) -> str:
    """Return the try's number as a part of a sentence; nothing for the first one."""
    return f", try {number}" if number > 1 else ""
