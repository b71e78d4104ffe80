"""How much of what a run has in Azure is proven, by what, and what would prove the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from s3_to_azure.model.objects import Amount
from s3_to_azure.model.options import TRANSPORT, VERIFICATION_LEVELS

UNRECORDED: Final = "none"
"""Stands for the level of a blob that has no record of one."""

_BY_REPORT: Final = "A checksum report would prove what S3 has no checksum of (docs/checksum-reports.md); "
_PROOFS: Final = frozenset(VERIFICATION_LEVELS) - {TRANSPORT}


def is_proof(level: str) -> bool:
    """Return whether a level compares the bytes with what S3 stores, or with a second reading from S3."""
    return _base(level) in _PROOFS


def _base(level: str) -> str:
    """Return the level without what was done beyond it, such as a read-back."""
    return level.partition("+")[0]


@dataclass(frozen=True, slots=True)
class ProvenAmounts:
    """Objects that are in Azure, by verification level.

    Attributes:
        levels: Objects and bytes by level.
    """

    levels: Mapping[str, Amount]

    def text(self) -> str:
        """Return one sentence for a person."""
        if not self.levels:
            return "nothing: no object is in Azure"
        proven = {level: amount for level, amount in self.levels.items() if is_proof(level)}
        rest = {level: amount for level, amount in self.levels.items() if level not in proven}
        transported = _sum(amount for level, amount in rest.items() if _base(level) == TRANSPORT)
        unrecorded = _sum(amount for level, amount in rest.items() if _base(level) != TRANSPORT)
        by = ", ".join(f"{amount.objects:,} by {level}" for level, amount in sorted(proven.items()))
        in_azure = _sum(self.levels.values()).objects
        text = f"{_sum(proven.values()).text()} of {in_azure:,} in Azure" + (f": {by}" if by else "")
        missing = []
        if transported.objects:
            missing.append(f"{transported.text()} only by {TRANSPORT}, since S3 stores no checksum")
        if unrecorded.objects:
            missing.append(f"{unrecorded.text()} without a recorded level")
        if not missing:
            return text
        report = _BY_REPORT if transported.objects else ""
        return (
            f"{text}. Not proven: {'; '.join(missing)}. {report}`s3-to-azure verify` proves these by reading both sides"
        )


def _sum(amounts: Iterable[Amount]) -> Amount:
    held = tuple(amounts)
    return Amount(sum(amount.objects for amount in held), sum(amount.size_bytes for amount in held))
