"""The statuses and reasons of receipts, each written once; docs/reference/reasons.md explains them.

A receipt's reason is a code, alone or followed by ``: `` and a sentence. The code of a failed object is the name of
its error (``TransferError.reason``) or one of the codes below.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

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


def explained(code: str, sentence: str) -> str:
    """Return a reason of a code and a sentence."""
    return f"{code}: {sentence}"


def code_of(reason: str) -> str:
    """Return a reason's code."""
    return reason.partition(":")[0]
