"""Every answer to a commit, and what it means (design.md, invariants 4 to 6)."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    BlobLeased,
    BlockListRefused,
    ConditionNotMet,
    ConnectionFailed,
    ContainerNotFound,
    DestinationConflict,
    ServerFailed,
    TransferError,
    TransientError,
)
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ContentHeaders, ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.commit import Commit, LeftoverBlocks, commit
from tests.fakes.contexts import QUICK
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH

SECOND = timedelta(seconds=1)
OURS = ObjectVersion("bucket", "k", "etag-ours", 4, EPOCH)
CONTENTS = BlobContents({"s3_etag": OURS.etag, "s3_last_modified": EPOCH.isoformat()}, ContentHeaders())
RECORD = dict(CONTENTS.metadata)
OLDER = {"s3_etag": "older", "s3_last_modified": (EPOCH - SECOND).isoformat()}
NEWER = {"s3_etag": "newer", "s3_last_modified": (EPOCH + SECOND).isoformat()}
SAME_SECOND = {"s3_etag": "other", "s3_last_modified": EPOCH.isoformat()}
LOST = ConnectionFailed(service="Azure", resource="b", detail="reset")
REFUSED = BlockListRefused(blob="b", container="container")

Write = Callable[[Condition], str]


class Rig:
    """A container, a write that can fail before or after it has happened, and a restage that counts."""

    def __init__(self) -> None:
        """Begin empty."""
        self.azure = MemoryDestination()
        self.before: list[TransferError] = []
        self.after: list[TransferError] = []
        self.conditions: list[Condition] = []
        self.restaged = 0
        self.retried: list[TransientError] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def write(self, condition: Condition) -> str:
        """Fail, or write, or write and fail."""
        self.conditions.append(condition)
        self.meanwhile()
        if self.before:
            raise self.before.pop(0)
        data = memoryview(b"ours")
        etag = self.azure.put_blob("b", data, CRC64NVME.digest(data), CONTENTS, condition)
        if self.after:
            raise self.after.pop(0)
        return etag

    def _restage(self) -> None:
        self.restaged += 1

    def commit(self, condition: Condition, *, staged: bool = True, may_replace: bool = True) -> str:
        """Commit as the engine does."""
        step = Commit(OURS, "b", self.write, self._restage if staged else None, may_replace)
        return commit(self.azure, step, condition, Retrier(QUICK, threading.Event(), self.retried.append))

    def content(self) -> bytes:
        """Return the blob's bytes."""
        return self.azure.blobs["b"].data


@pytest.fixture
def rig() -> Rig:
    """Return a fresh rig."""
    return Rig()


ABSENT = Condition(None)


def test_plain_success(rig: Rig) -> None:
    """One write, its ETag."""
    assert rig.commit(ABSENT) == rig.azure.blobs["b"].etag
    assert len(rig.conditions) == 1


def test_condition_not_met_by_our_own_version(rig: Rig) -> None:
    """Another worker committed this very version: that is success, with its ETag."""
    etag = rig.azure.write("b", b"ours", metadata=RECORD)
    assert rig.commit(ABSENT) == etag
    assert rig.azure.commits == 0


def test_same_etag_of_another_size_is_not_ours(rig: Rig) -> None:
    """A blob that claims our ETag with other bytes is somebody else's."""
    rig.azure.write("b", b"not ours", metadata=RECORD)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert rig.content() == b"not ours"


@pytest.mark.parametrize("error", [LOST, ServerFailed(service="Azure", status=500, code="InternalError", resource="b")])
def test_lost_answer_after_the_commit(rig: Rig, error: TransferError) -> None:
    """Invariant 6: a lost answer is looked up; what has happened is not done again."""
    rig.after = [error]
    assert rig.commit(ABSENT) == rig.azure.blobs["b"].etag
    assert (rig.azure.commits, len(rig.conditions)) == (1, 1)


def test_lost_request(rig: Rig) -> None:
    """A request that never arrived is sent again, under the same condition."""
    planned = Condition(rig.azure.write("b", b"before"))
    rig.before = [LOST, LOST]
    rig.commit(planned)
    assert rig.conditions == [planned] * 3
    assert rig.retried == [LOST, LOST]
    assert rig.content() == b"ours"


def test_lost_request_over_our_own_version(rig: Rig) -> None:
    """With overwrite=always an equal copy was there before: only a new ETag shows that the write has happened."""
    planned = Condition(rig.azure.write("b", b"ours", metadata=RECORD))
    rig.before = [LOST]
    assert rig.commit(planned) != planned.etag
    assert len(rig.conditions) == 2


def test_lost_requests_beyond_the_budget(rig: Rig) -> None:
    """The last error comes out, and nothing was written."""
    rig.before = [LOST] * 10
    with pytest.raises(ConnectionFailed):
        rig.commit(ABSENT)
    assert len(rig.conditions) == QUICK.attempts
    assert rig.azure.blobs == {}


def test_older_copy_in_between_is_replaced_once(rig: Rig) -> None:
    """A copy of an older version came in between: its ETag is taken once, and no more."""
    older = rig.azure.write("b", b"older", metadata=OLDER)
    rig.commit(ABSENT)
    assert rig.conditions == [ABSENT, Condition(older)]
    assert rig.content() == b"ours"


def test_older_copies_in_between_again_and_again(rig: Rig) -> None:
    """Two writers must not fight for ever."""
    rig.meanwhile = lambda: rig.azure.write("b", b"older", metadata=OLDER)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 2
    assert rig.content() == b"older"


def test_older_copy_with_overwrite_never(rig: Rig) -> None:
    """Who said never does not replace what came in between either."""
    rig.azure.write("b", b"older", metadata=OLDER)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT, may_replace=False)
    assert rig.content() == b"older"


@pytest.mark.parametrize("staged", [True, False])
@pytest.mark.parametrize(
    ("metadata", "detail"),
    [
        (NEWER, r"\(it holds a newer version of the object\)"),
        (SAME_SECOND, r"\(it holds something else now\)"),
        ({}, r"\(it holds something else now\)"),
        ({"s3_etag": "x"}, r"\(it holds something else now\)"),
    ],
)
def test_what_must_not_be_replaced(rig: Rig, metadata: dict[str, str], detail: str, staged: bool) -> None:
    """A newer copy, one of the same second, or somebody's own blob is a conflict, and stays."""
    rig.azure.write("b", b"theirs", metadata=metadata)
    with pytest.raises(DestinationConflict, match=detail) as caught:
        rig.commit(ABSENT, staged=staged)
    assert (caught.value.attributes["blob"], caught.value.attributes["container"]) == ("b", rig.azure.container)
    assert rig.content() == b"theirs"
    assert len(rig.conditions) == 1


def test_deleted_since_the_plan(rig: Rig) -> None:
    """A blob that somebody deleted is not brought back."""
    with pytest.raises(DestinationConflict, match=r"\(it was deleted\)"):
        rig.commit(Condition("0x1"))
    assert rig.azure.blobs == {}


def test_block_list_refused(rig: Rig) -> None:
    """What Azure no longer holds is staged again, three rounds at most."""
    rig.before = [REFUSED, REFUSED, REFUSED]
    rig.commit(ABSENT)
    assert rig.restaged == 3
    assert rig.content() == b"ours"


def test_block_list_refused_for_ever(rig: Rig) -> None:
    """After three rounds it is a conflict that says why."""
    rig.before = [REFUSED] * 10
    with pytest.raises(DestinationConflict, match="block_list_refused") as caught:
        rig.commit(ABSENT)
    assert caught.value.attributes["blob"] == "b"
    assert rig.restaged == 3


def test_block_list_refused_because_another_committed(rig: Rig) -> None:
    """A set that is gone because another worker just committed it is success, and nothing is staged again."""
    etag = rig.azure.write("b", b"ours", metadata=RECORD)
    rig.before = [REFUSED]
    assert rig.commit(ABSENT) == etag
    assert rig.restaged == 0


def test_block_list_refused_and_somebody_elses_blob(rig: Rig) -> None:
    """A set that a foreign write has dropped is a conflict."""
    rig.azure.write("b", b"theirs")
    rig.before = [REFUSED]
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert (rig.restaged, rig.content()) == (0, b"theirs")


def test_put_blob_over_leftovers(rig: Rig) -> None:
    """Put Blob refused where there is no blob: the block path takes over."""
    rig.azure.stage_foreign("b", b"x" * 52, b"left over")
    with pytest.raises(LeftoverBlocks):
        rig.commit(ABSENT, staged=False)


def test_refused_although_nothing_is_there(rig: Rig) -> None:
    """The block path itself never loops on such an answer."""
    rig.before = [ConditionNotMet(blob="b", container="container", code="BlobAlreadyExists")] * 10
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 1


@pytest.mark.parametrize(
    "error",
    [BlobLeased(blob="b", container="container", code="LeaseIdMissing"), ContainerNotFound(container="container")],
)
def test_permanent_errors_come_out_at_once(rig: Rig, error: TransferError) -> None:
    """A lease or a missing container is nobody's race."""
    rig.before = [error] * 5
    with pytest.raises(type(error)):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 1


def test_container_deleted_before_the_look(rig: Rig) -> None:
    """A lost answer whose blob cannot be looked up is told as what it is."""
    rig.before = [LOST]
    rig.meanwhile = lambda: setattr(rig.azure, "exists", False)
    with pytest.raises(ContainerNotFound):
        rig.commit(ABSENT)


class TestLog:
    """What whoever opens the log at seven in the morning reads of a commit that did not go straight."""

    @pytest.fixture(autouse=True)
    def log(self, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
        """Keep all of it."""
        caplog.set_level(logging.INFO)
        return caplog

    def test_nothing_of_a_plain_success(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """No line for each object."""
        rig.commit(ABSENT)
        assert log.messages == []

    def test_a_lost_answer(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """That the write had happened after all."""
        rig.after = [LOST]
        rig.commit(ABSENT)
        said = "Blob 'b' already holds this version: an answer was lost, or another worker committed it"
        assert log.messages == [said]

    def test_blocks_that_are_gone(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """Each round, with its number."""
        rig.before = [REFUSED, REFUSED]
        rig.commit(ABSENT)
        said = "Azure no longer holds every block of 'b': staging again, round {}"
        assert log.messages == [said.format(1), said.format(2)]

    def test_an_older_copy_in_between(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """What is replaced, although the plan did not know it."""
        rig.azure.write("b", b"older", metadata=OLDER)
        rig.commit(ABSENT)
        said = "Blob 'b' was written from an older version of this object meanwhile: replacing that copy"
        assert log.messages == [said]

    def test_a_look_that_fails(self, rig: Rig, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was asked, when the look after a lost answer is lost too."""
        rig.after, lost = [LOST], [LOST]
        look = rig.azure.head

        def head(blob: str) -> BlobState | None:
            if lost:
                raise lost.pop()
            return look(blob)

        monkeypatch.setattr(rig.azure, "head", head)
        rig.commit(ABSENT)
        assert log.messages[0].startswith(f"Try 1 of {QUICK.attempts} to look up blob 'b' failed, next in ")
