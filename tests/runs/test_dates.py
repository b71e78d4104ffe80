"""Nights over stores whose listings and responses give an object's date in different precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from s3_to_azure.model.objects import ListedObject, ObjectVersion
from s3_to_azure.model.reasons import COPIED
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemoryBody, MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

BUCKET = "bucket"
SECOND = timedelta(seconds=1)


def cut(moment: datetime) -> datetime:
    """Return the whole second before the moment."""
    return moment.replace(microsecond=0)


def rounded_up(moment: datetime) -> datetime:
    """Return the whole second after the moment."""
    return cut(moment) + (SECOND if moment.microsecond else timedelta())


class Store(MemorySource):
    """A store that lists milliseconds, and answers with whole seconds, as Ceph, MinIO and others do."""

    to_seconds = staticmethod(cut)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """List milliseconds."""
        for listed in super().list(bucket, prefix, max_keys=max_keys):
            at = listed.last_modified
            yield replace(listed, last_modified=at.replace(microsecond=at.microsecond // 1_000 * 1_000))

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Answer with whole seconds."""
        version = super().head(bucket, key)
        return replace(version, last_modified=self.to_seconds(version.last_modified))

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Answer with whole seconds."""
        with super().open(version, start, end) as body:
            body.version = replace(body.version, last_modified=self.to_seconds(body.version.last_modified))
            yield body


class StoreThatRoundsUp(Store):
    """One that rounds up instead of cutting off."""

    to_seconds = staticmethod(rounded_up)


# Just after a second, just before the next one, on it, and with more digits than a listing has.
FRACTIONS = [1_000, 999_000, 0, 500_400, 999_999]


@pytest.fixture(params=[Store, StoreThatRoundsUp])
def night(request: pytest.FixtureRequest) -> Night:
    """Return a night over such a store, with an object for each fraction, small and in blocks."""
    source = request.param(BUCKET)
    for number, microseconds in enumerate(FRACTIONS):
        for size in (0, 1, 3_000_000):
            moment = EPOCH + timedelta(days=number, microseconds=microseconds)
            source.put(BUCKET, f"k{number}-{size}", b"x" * size, last_modified=moment)
    return Night(source, MemoryDestination(), MemoryState(), BUCKET)


def test_second_night_rewrites_nothing(night: Night) -> None:
    """No object is copied, and no blob's metadata is written, for a fraction of a second."""
    _, _, report = night.run()
    assert report.total(COPIED).objects == 3 * len(FRACTIONS)
    for _ in range(2):
        plan, _, report = replace(night, files=MemoryState()).run()
        assert (plan.batches, plan.rewritten, plan.unchanged.objects) == ((), 0, 3 * len(FRACTIONS))
        assert not report.failed


# Less than two seconds cannot be told from a date that was rounded up.
@pytest.mark.parametrize("later", [2 * SECOND, timedelta(hours=1)])
def test_object_that_was_written_again_is_updated_once(night: Night, later: timedelta) -> None:
    """Its metadata may have changed; the night after has nothing to do."""
    night.run()
    source = night.source
    assert isinstance(source, MemorySource)
    source.put(BUCKET, "k1-1", b"x", last_modified=EPOCH + timedelta(days=1, microseconds=999_000) + later)
    plan, _, _ = replace(night, files=MemoryState()).run()
    assert (plan.rewritten, plan.unchanged.objects) == (1, 3 * len(FRACTIONS) - 1)
    plan, _, _ = replace(night, files=MemoryState()).run()
    assert (plan.batches, plan.rewritten) == ((), 0)


@pytest.mark.parametrize("later", [timedelta(milliseconds=1), SECOND])
def test_new_version_is_copied_however_soon_it_came(night: Night, later: timedelta) -> None:
    """Another ETag is another version, also within the same second."""
    night.run()
    source = night.source
    assert isinstance(source, MemorySource)
    source.put(BUCKET, "k0-1", b"y", last_modified=EPOCH + timedelta(microseconds=1_000) + later)
    plan, _, report = replace(night, files=MemoryState()).run()
    assert (plan.copy.objects, report.total(COPIED).objects) == (1, 1)
