"""An S3 whose restores take time; the local servers restore at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from s3_to_azure.model.errors import ObjectArchived
from s3_to_azure.model.objects import ListedObject, ObjectVersion
from tests.fakes.memory_source import MemoryBody, MemorySource


class SlowArchive(MemorySource):
    """Objects that cannot be read until a restore is requested and the test finishes it."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self.archived: set[str] = set()
        self.in_progress: set[str] = set()
        self.asked: list[tuple[str, int, str]] = []
        """Key, days and tier of every restore that was begun."""

    def finish_restores(self) -> None:
        """Finish every restore that was requested."""
        self.archived -= self.in_progress
        self.in_progress.clear()

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Refuse archived objects."""
        if version.key in self.archived:
            raise ObjectArchived(bucket=version.bucket, key=version.key, code="InvalidObjectState")
        with super().open(version, start, end) as body:
            yield body

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Begin a restore; return False while one is in progress."""
        if key in self.in_progress:
            return False
        self.in_progress.add(key)
        self.asked.append((key, days, tier))
        return True
