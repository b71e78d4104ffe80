"""Counts which way the bytes of copied objects took, and why Azure did not fetch the others."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.objects import AmountCounter, Receipt
from s3_to_azure.model.options import VIA_AZURE
from s3_to_azure.model.reasons import COPIED, NOT_FETCHED

# A damaged receipt may hold any text.
_OTHER: Final = "other"


class Ways:
    """The ways of a run's copies; false while no object was fetched, and none was to be.

    Each copied object counts once: as fetched, also if the worker ended what Azure had begun, or by the code of why it
    was streamed.

    Attributes:
        blocks_fetched: Blocks that Azure fetched.
        blocks_streamed: Blocks of fetched objects that the worker sent.
    """

    def __init__(self) -> None:
        self.blocks_fetched = self.blocks_streamed = 0
        self._fetched = AmountCounter()
        self._ended_streamed: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self._not_fetched: dict[str, AmountCounter] = defaultdict(AmountCounter)

    def __bool__(self) -> bool:
        """Return whether there is anything to tell."""
        return bool(self._fetched.objects or self._not_fetched)

    def add(self, receipt: Receipt) -> None:
        """Count an object if it was copied."""
        if receipt.status != COPIED:
            return
        is_fetched = receipt.via == VIA_AZURE
        if is_fetched:
            self._fetched.add(receipt.size_bytes)
        self.blocks_fetched += receipt.blocks_fetched
        self.blocks_streamed += receipt.blocks_streamed
        if receipt.not_fetched:
            code = receipt.not_fetched if receipt.not_fetched in NOT_FETCHED else _OTHER
            (self._ended_streamed if is_fetched else self._not_fetched)[code].add(receipt.size_bytes)

    def lines(self) -> Iterator[str]:
        """Yield the counts for a person: what Azure fetched, and each reason why it did not, in words once."""
        if not self:
            return
        streamed = count_text(self.blocks_streamed, "block")
        also = f", and {streamed} through the worker" if self.blocks_streamed else ""
        fetched = self._fetched.amount().text()
        yield f"Fetched:   {fetched} by Azure, in {count_text(self.blocks_fetched, 'block')}{also}"
        for code, count in sorted(self._ended_streamed.items()):
            yield f"           {count.amount().text()} of these ended through the worker: {_reason(code)}"
        for code, count in sorted(self._not_fetched.items()):
            yield f"Streamed:  {count.amount().text()}: {code if code in self._ended_streamed else _reason(code)}"

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values; nothing where there is nothing to tell."""
        if not self:
            return {}
        blocks = {"blocks_fetched": self.blocks_fetched, "blocks_streamed": self.blocks_streamed}
        return {
            "fetched": asdict(self._fetched.amount()) | blocks,
            "ended_streamed": {code: asdict(count.amount()) for code, count in sorted(self._ended_streamed.items())},
            "not_fetched": {code: asdict(count.amount()) for code, count in sorted(self._not_fetched.items())},
        }


def _reason(code: str) -> str:
    return f"{code}: {NOT_FETCHED[code]}" if code in NOT_FETCHED else code
