"""The CRC64s that S3 stores of ranges of an object, so that Azure can refuse other bytes, and no note is needed."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.objects import Block, PartChecksum, SourceChecksum


class KnownCrc64s:
    """What is known of an object's ranges: the whole, and any run of whole parts.

    Args:
        size_bytes: The object's size.
        whole: The CRC64NVME over all its bytes.
        parts: Its parts, in order; they count only if they add up to the object, in bytes and in their CRC64.
    """

    def __init__(self, size_bytes: int, whole: SourceChecksum, parts: Sequence[PartChecksum] = ()) -> None:
        self._whole = Block(0, size_bytes)
        self._whole_crc64 = whole.value
        self._parts = parts
        self._edges = [0, *accumulate(part.size_bytes for part in parts)]
        if self._edges[-1] != size_bytes or _combined(parts) != whole.value:
            self._parts, self._edges = (), [0]

    def of(self, block: Block) -> int | None:
        """Return the CRC64 of a range, or None."""
        if block == self._whole:
            return self._whole_crc64
        first, last = bisect_left(self._edges, block.start), bisect_left(self._edges, block.end)
        if last >= len(self._edges) or (self._edges[first], self._edges[last]) != (block.start, block.end):
            return None
        return _combined(self._parts[first:last])

    def block_bytes(self, wanted: int, *, most: int) -> int:
        """Return the smallest block size from the wanted one on that cuts between parts; the wanted one if none does.

        Args:
            wanted: In bytes.
            most: The largest size.
        """
        sizes = [part.size_bytes for part in self._parts]
        if not sizes or not sizes[0] or sizes[-1] > sizes[0] or set(sizes[1:-1]) - {sizes[0]}:
            return wanted
        whole_parts = -(-wanted // sizes[0]) * sizes[0]
        return whole_parts if whole_parts <= most else wanted


def _combined(parts: Sequence[PartChecksum]) -> int:
    value = CRC64NVME.digest(memoryview(b""))
    for part in parts:
        assert CRC64NVME.combine is not None
        value = CRC64NVME.combine(value, part.crc64, part.size_bytes)
    return value
