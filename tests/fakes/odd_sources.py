"""Sources in memory that return different bytes at some readings, or whose objects were uploaded in parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import CRC32C
from s3_to_azure.model.objects import ObjectVersion, PartSizes, SourceChecksum
from tests.fakes.memory_source import MemorySource


class Differing(MemorySource):
    """Flips bits of the byte at ``offset``: ``flips`` maps the number of a reading to the bits that it flips."""

    offset = 0
    flips: Mapping[int, int] = {}
    readings = 0

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Count the reading of the byte, and flip its bits."""
        if not start <= self.offset < start + len(data):
            return data
        self.readings += 1
        at = self.offset - start
        return data[:at] + bytes([data[at] ^ self.flips.get(self.readings, 0)]) + data[at + 1 :]


class InParts(MemorySource):
    """Objects with a checksum over their parts; ``guess`` is what the first and the last part suggest."""

    guess: PartSizes | None = None
    sizes: tuple[int, ...] = ()

    def put_parts(self, bucket: str, key: str, data: bytes, sizes: Sequence[int]) -> ObjectVersion:
        """Write an object that was uploaded in parts of these sizes."""
        self.sizes = tuple(sizes)
        cuts = pairwise((0, *accumulate(sizes)))
        value = checksums.over_parts([CRC32C.digest(memoryview(data)[a:b]) for a, b in cuts], CRC32C)
        self.put(bucket, key, data, checksum=None)
        return self.change(bucket, key, checksum=SourceChecksum("crc32c", value, parts=len(sizes)))

    def change(self, bucket: str, key: str, **changes: Any) -> ObjectVersion:
        """Change what S3 reports about an object."""
        version, data = self._objects[bucket][key]
        self._objects[bucket][key] = replace(version, **changes), data
        return self._objects[bucket][key][0]

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the real sizes where there is no guess, or where each part is looked up."""
        return PartSizes(self.sizes, certain=True) if each or self.guess is None else self.guess
