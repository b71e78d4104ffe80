"""Buffers that are used again: new memory would cost a page fault for every 4 KiB."""

from typing import Final

_PAGE_BYTES: Final = 4096


class Buffers:
    """Buffers of one thread. Those in use and those kept never take more than the most that were in use at once."""

    def __init__(self) -> None:
        self._kept: dict[int, list[bytearray]] = {}
        self._kept_bytes = 0
        self._used_bytes = 0
        self._most_used_bytes = 0

    def take(self, size_bytes: int) -> bytearray:
        """Return a buffer of at least this size, with any content."""
        # Few sizes, so that one fits again: at most an eighth of a large buffer is not needed.
        step = max(_PAGE_BYTES, 1 << max(0, size_bytes.bit_length() - 4))
        capacity = -(-size_bytes // step) * step
        kept = self._kept.get(capacity)
        found = kept.pop() if kept else None
        if found is not None:
            self._kept_bytes -= capacity
        self._use(capacity)
        return bytearray(capacity) if found is None else found

    def give_back(self, buffer: bytearray) -> None:
        """Take back a buffer that nobody reads any more."""
        self.forget(buffer)
        self._kept_bytes += len(buffer)
        # The size that was last in use goes to the end: others are dropped first.
        self._kept[len(buffer)] = [*self._kept.pop(len(buffer), ()), buffer]

    def forget(self, buffer: bytearray) -> None:
        """Count a buffer no longer: somebody else has it now."""
        self._used_bytes -= len(buffer)

    def remember(self, buffer: bytearray) -> None:
        """Count a buffer again that came back to be sent."""
        self._use(len(buffer))

    def clear(self) -> None:
        """Drop the buffers that are kept."""
        self._kept.clear()
        self._kept_bytes = 0

    def _use(self, size_bytes: int) -> None:
        self._used_bytes += size_bytes
        self._most_used_bytes = max(self._most_used_bytes, self._used_bytes)
        while self._kept_bytes and self._used_bytes + self._kept_bytes > self._most_used_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        size_bytes, kept = next(iter(self._kept.items()))
        if kept:
            kept.pop()
            self._kept_bytes -= size_bytes
        if not kept:
            del self._kept[size_bytes]
