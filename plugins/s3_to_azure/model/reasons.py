"""The statuses and reasons of receipts, each written once; docs/reference/reasons.md explains them.

A receipt's reason is a code, alone or followed by ``: `` and a sentence. The code of a failed object is the name of
its error (``TransferError.reason``) or one of the codes below.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, get_args

from s3_to_azure.model.formatting import count_text

Status = Literal["copied", "unchanged", "skipped", "failed", "staged"]
COPIED: Final = "copied"
UNCHANGED: Final = "unchanged"
SKIPPED: Final = "skipped"
FAILED: Final = "failed"
STAGED: Final = "staged"

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
FINAL_STATUSES: Final[tuple[Status, ...]] = (COPIED, UNCHANGED, SKIPPED, FAILED)
"""What an object has at the end of a run; a task that sent a part of a giant object says ``staged`` until then."""

METADATA_DROPPED: Final = "metadata_dropped"
METADATA_INCOMPLETE: Final = "metadata_incomplete"
BY_EARLIER_TRY: Final = "by_earlier_try"

METADATA_UPDATED: Final = "metadata_updated"

FOLDER_MARKER: Final = "folder_marker"
RESERVED_NAME: Final = "reserved_name"
NOT_INCLUDED: Final = "not_included"
EXCLUDED: Final = "excluded"
TOO_SMALL: Final = "too_small"
TOO_LARGE: Final = "too_large"
TOO_OLD: Final = "too_old"
TOO_NEW: Final = "too_new"
STORAGE_CLASS_EXCLUDED: Final = "storage_class_excluded"
FILTERED: Final = (NOT_INCLUDED, EXCLUDED, TOO_SMALL, TOO_LARGE, TOO_OLD, TOO_NEW, STORAGE_CLASS_EXCLUDED)
"""Why a filter leaves an object out."""

DESTINATION_EXISTS: Final = "destination_exists"
DESTINATION_NEWER: Final = "destination_newer"
ARCHIVED: Final = "archived"
WAITING_FOR_RESTORE: Final = "waiting_for_restore"
SOURCE_DELETED: Final = "source_deleted"

MISSING_IN_SOURCE: Final = "missing_in_source"
NO_RECEIPT: Final = "no_receipt"
UNPLANNED: Final = "unplanned"
NOT_COMMITTED: Final = "not_committed"

REASONS: Final[Mapping[Status, tuple[str, ...]]] = {
    COPIED: (METADATA_DROPPED, METADATA_INCOMPLETE, BY_EARLIER_TRY),
    UNCHANGED: (METADATA_UPDATED,),
    SKIPPED: (
        FOLDER_MARKER,
        RESERVED_NAME,
        *FILTERED,
        DESTINATION_EXISTS,
        DESTINATION_NEWER,
        ARCHIVED,
        WAITING_FOR_RESTORE,
        SOURCE_DELETED,
    ),
    FAILED: (MISSING_IN_SOURCE, NO_RECEIPT, UNPLANNED, NOT_COMMITTED),
}
"""The codes that are not errors' names, by the status that they explain."""

ONE_REQUEST: Final = "one_request"
NO_CRC64NVME: Final = "no_crc64nvme"
ARCHIVE_CLASS: Final = "archive_class"
LONG_URL: Final = "long_url"
NO_BLOCK_SIZE: Final = "no_block_size"
SSE_C: Final = "sse_c"
REQUESTER_PAID: Final = "requester_paid"
CANNOT_PRESIGN: Final = "cannot_presign"
PRIVATE_ENDPOINT: Final = "private_endpoint"
WORKER_READS: Final = "worker_reads"
SOURCE_UNREACHABLE: Final = "source_unreachable"
NO_CRC_RETURNED: Final = "no_crc_returned"

NOT_FETCHED: Final[Mapping[str, str]] = {
    ONE_REQUEST: "the worker copies so small an object in one request, and Azure would need more",
    NO_CRC64NVME: "S3 stores no CRC64NVME over all its bytes and no checksum report has one, and Azure computes no "
    "other checksum",
    ARCHIVE_CLASS: "it is in an archive storage class, and only reading it shows whether it is restored",
    LONG_URL: "its presigned URL would be longer than the 2,048 characters that Azure accepts",
    NO_BLOCK_SIZE: "no block size suits it: Azure fetches at most 12,500 blocks of at most 256 MiB, and the memory "
    "budget must hold one",
    SSE_C: "Azure cannot send the key that decrypts it (SSE-C)",
    REQUESTER_PAID: "its bucket charges the requester, which a URL for Azure does not confirm",
    CANNOT_PRESIGN: "no URL can be presigned for its bucket, such as one of S3 Express or a multi-region access point",
    PRIVATE_ENDPOINT: "Azure reaches only public https endpoints, and its endpoint is none",
    WORKER_READS: "integrity=reread and integrity=readback have the worker read all bytes",
    SOURCE_UNREACHABLE: "Azure could not read the bucket by a presigned URL",
    NO_CRC_RETURNED: "Azure returned no CRC64 of the bytes that it fetched",
}
"""Why Azure does not fetch an object, by the code in a receipt's ``not_fetched``; each sentence goes on after it."""

_REMEDIES: Final[Mapping[str, str]] = {
    "name_refused": "Rename the objects, exclude them by a filter, or copy them under other names (refused_names=map).",
    "wrong_blob_type": "A blob of another type, or a directory, has the name: delete or rename it.",
    MISSING_IN_SOURCE: "Correct the list of keys.",
    NO_RECEIPT: "Clear the copy task that ended early, or start a new run.",
    UNPLANNED: "See the log of the task plan, then start a new run.",
    NOT_COMMITTED: "Clear one of the object's copy tasks, or start a new run.",
}
_MAX_SAMPLE: Final = 400
_MAX_CODE: Final = 100
_MAX_GROUPS: Final = 50


def explained(code: str, sentence: str) -> str:
    """Return a reason of a code and a sentence."""
    return f"{code}: {sentence}"


def code_of(reason: str) -> str:
    """Return a reason's code."""
    return reason.partition(":")[0]


def short_code(reason: str) -> str:
    """Return a reason's code as one short line of ASCII: a damaged state file may hold any text."""
    return " ".join(code_of(reason).split())[:_MAX_CODE].encode("ascii", "replace").decode()


def remedy_of(code: str) -> str:
    """Return what to do about a failure whose reason has no sentence that says it; empty where the sentence does."""
    return _REMEDIES.get(code, "")


class FailureGroups:
    """Failures by reason, with the first of each; constant memory, whatever a damaged state file holds.

    Attributes:
        count: All failures.
    """

    def __init__(self) -> None:
        self.count = 0
        self._groups: dict[str, tuple[int, str]] = {}

    def __len__(self) -> int:
        """Return the number of reasons."""
        return len(self._groups)

    def add(self, key: str, reason: str) -> bool:
        """Count a failure; return whether it is the first one for its reason."""
        self.count += 1
        code = short_code(reason)
        if code not in self._groups and len(self._groups) >= _MAX_GROUPS:
            return False
        count, first = self._groups.get(code, (0, ""))
        self._groups[code] = count + 1, first or sample_text(key, reason)
        return not count

    def samples(self) -> dict[str, str]:
        """Return the first failure of each reason's code, as ``sample_text`` writes it."""
        return {code: first for code, (_, first) in self._groups.items()}

    def lines(self) -> Iterator[str]:
        """Yield a line for each reason, the most frequent first: its count, and its first failure."""
        for count, first in sorted(self._groups.values(), reverse=True):
            yield f"{count:>9,}  such as {first}"

    def title(self) -> str:
        """Return the line above ``lines``: ``124 failures, by reason:``."""
        return f"{count_text(self.count, 'failure')}, by reason:"


def sample_text(key: str, reason: str) -> str:
    """Return a failure in one line of limited length: the key, the reason, and what to do about it."""
    text = f"{key!r}: {' '.join(reason.split())}"
    remedy = remedy_of(code_of(reason))
    text = text if len(text) <= _MAX_SAMPLE else f"{text[:_MAX_SAMPLE]} ..."
    return f"{text.rstrip('.')}. {remedy}" if remedy else text


def such_as(sample: str | None) -> str:
    """Return a sample as the end of a line; nothing without one."""
    return f", such as {sample}" if sample else ""
