"""What each answer to a commit leads to (invariants 4 to 6)."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    BlobImmutable,
    BlobLeased,
    BlobOfAnotherObject,
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
from s3_to_azure.model.record import source_id
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.commit import Commit, Committed, LeftoverBlocks, commit
from tests.fakes.contexts import QUICK, record_of
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH

SECOND = timedelta(seconds=1)
OURS = ObjectVersion("bucket", "k", "etag-ours", 4, EPOCH)
PROVEN = {"s3_verified_by": "crc32c", "s3_checksum": "crc32c:yZRlqg=="}
RECORD = record_of(OURS, **PROVEN)
PENDING = {**RECORD, "s3_verified_by": "readback_pending"}
DAMAGED = {**RECORD, "s3_verified_by": "damaged"}
OTHERS = {**RECORD, "s3_source": source_id("bucket", "another")}
OLDER = {"s3_etag": "older", "s3_last_modified": (EPOCH - SECOND).isoformat()}
NEWER = {"s3_etag": "newer", "s3_last_modified": (EPOCH + SECOND).isoformat()}
SAME_SECOND = {"s3_etag": "other", "s3_last_modified": EPOCH.isoformat()}
LOST = ConnectionFailed(service="Azure", resource="b", detail="reset")
REFUSED = BlockListRefused(blob="b", container="container")

Write = Callable[[Condition], str]


class Rig:
    """A container, a write that can fail before or after it happens, and a count of restaging."""

    def __init__(self) -> None:
        self.azure = MemoryDestination()
        self.before: list[TransferError] = []
        self.after: list[TransferError] = []
        self.conditions: list[Condition] = []
        self.restaged = 0
        self.current: str | None = OURS.etag
        self.asked = 0
        self.retried: list[TransientError] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.record = RECORD

    def write(self, condition: Condition) -> str:
        """Fail before the write, or write, or fail after it."""
        self.conditions.append(condition)
        self.meanwhile()
        if self.before:
            raise self.before.pop(0)
        data = memoryview(b"ours")
        etag = self.azure.put_blob("b", data, CRC64NVME.digest(data), self._contents(), condition)
        if self.after:
            raise self.after.pop(0)
        return etag

    def _restage(self) -> None:
        self.restaged += 1

    def _contents(self) -> BlobContents:
        return BlobContents(self.record, ContentHeaders())

    def current_etag(self) -> str | None:
        """Return S3's current version, and count the request."""
        self.asked += 1
        return self.current

    def committed(self, condition: Condition, *, staged: bool = True, may_replace: bool = True) -> Committed:
        """Commit as an upload does."""
        restage = self._restage if staged else None
        step = Commit(OURS, "b", self._contents(), self.write, restage, self.current_etag, may_replace)
        return commit(self.azure, step, condition, Retrier(QUICK, threading.Event(), self.retried.append))

    def commit(self, condition: Condition, *, staged: bool = True, may_replace: bool = True) -> str:
        """Commit, and return the ETag."""
        return self.committed(condition, staged=staged, may_replace=may_replace).etag

    def content(self) -> bytes:
        """Return the blob's bytes."""
        return self.azure.blobs["b"].data


@pytest.fixture
def rig() -> Rig:
    """Return an empty container and a write that succeeds."""
    return Rig()


ABSENT = Condition(None)


def test_success_takes_one_write(rig: Rig) -> None:
    """A commit that succeeds returns the ETag of its only write."""
    assert rig.commit(ABSENT) == rig.azure.blobs["b"].etag
    assert len(rig.conditions) == 1


def test_condition_not_met_by_our_own_version(rig: Rig) -> None:
    """Where another worker has committed this very version, the commit succeeds with that blob's ETag."""
    etag = rig.azure.write("b", b"ours", metadata=RECORD)
    assert rig.commit(ABSENT) == etag
    assert rig.azure.commits == 0


@pytest.mark.parametrize(
    "record",
    [
        {**RECORD, "s3_verified_by": "checked by my tool"},
        {**RECORD, "s3_verified_by": "transport", "s3_checksum": ""},
        {**RECORD, "s3_checksum": "crc32c:AAAAAA=="},
        {**RECORD, "s3_last_modified": (EPOCH - SECOND).isoformat()},
        {**RECORD, "s3_last_modified": ""},
        {"s3_etag": OURS.etag, "s3_last_modified": EPOCH.isoformat()},
        PENDING,
        DAMAGED,
    ],
)
def test_a_blob_that_only_calls_itself_this_copy_is_written_again(rig: Rig, record: dict[str, str]) -> None:
    """A refused write is done only if the blob has the whole record of this copy: object, version, time and proof."""
    there = rig.azure.write("b", b"????", metadata=record)
    rig.commit(ABSENT)
    assert rig.conditions == [ABSENT, Condition(there)]
    assert rig.content() == b"ours"


def test_a_blob_without_a_source_is_taken_as_before(rig: Rig) -> None:
    """A worker of the version before may have committed it."""
    etag = rig.azure.write("b", b"ours", metadata={k: v for k, v in RECORD.items() if k != "s3_source"})
    assert rig.commit(ABSENT) == etag


ALWAYS = {**RECORD, "s3_run": "this one"}


@pytest.mark.parametrize("there", [RECORD, DAMAGED, {**RECORD, "s3_run": "another"}])
def test_always_writes_whatever_the_blob_says(rig: Rig, there: dict[str, str]) -> None:
    """The user asked that every blob be written again: an edit of its metadata meanwhile does not stand for that."""
    rig.record = ALWAYS
    planned = Condition(rig.azure.write("b", b"????", metadata=there))
    touched = Condition(rig.azure.write("b", b"????", metadata={**there, "catalogued": "yes"}))
    assert not rig.committed(planned).by_another
    assert rig.conditions == [planned, touched]
    assert rig.content() == b"ours"


@pytest.mark.parametrize("there", [ALWAYS, {**ALWAYS, "catalogued": "yes"}])
def test_always_writes_a_blob_once_in_a_run(rig: Rig, there: dict[str, str]) -> None:
    """What this run has written is done, by a lost answer or another worker, and whatever is added to its metadata."""
    rig.record = ALWAYS
    planned = Condition(rig.azure.write("b", b"????", metadata=RECORD))
    rig.after = [LOST]
    rig.commit(planned)
    assert (rig.azure.commits, rig.content()) == (1, b"ours")
    etag = rig.azure.write("b", b"ours", metadata=there)
    assert rig.committed(planned) == Committed(etag, by_another=True)


def test_always_reads_back_only_what_its_run_wrote(rig: Rig) -> None:
    """A blob that another run is about to read back is written again."""
    rig.record = {**ALWAYS, "s3_verified_by": "readback_pending"}
    for run, commits in (("this one", 0), ("another", 1)):
        rig.azure.write("b", b"????", metadata={**rig.record, "s3_run": run})
        rig.commit(ABSENT)
        assert rig.azure.commits == commits


def test_a_commit_gives_up_where_somebody_writes_all_the_time(rig: Rig) -> None:
    """After four writes it is a conflict."""
    rig.record = ALWAYS
    rig.meanwhile = lambda: rig.azure.write("b", b"????", metadata=RECORD)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 1 + QUICK.commit_rounds


def test_never_replaces_no_blob_but_an_unproven_one(rig: Rig) -> None:
    """A copy that did not finish its own proof writes again; a blob that says less than this copy stays."""
    rig.azure.write("b", b"????", metadata={**RECORD, "s3_verified_by": "transport", "s3_checksum": ""})
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT, may_replace=False)
    assert rig.content() == b"????"
    rig.azure.write("b", b"????", metadata=DAMAGED)
    rig.commit(ABSENT, may_replace=False)
    assert rig.content() == b"ours"


LATER = {"s3_last_modified": (EPOCH + SECOND).isoformat()}


@pytest.mark.parametrize(
    "record",
    [{**RECORD, **LATER}, {**PENDING, **LATER}, {**DAMAGED, **LATER}, {**PENDING, **NEWER}, {**DAMAGED, **NEWER}],
    ids=["equal bytes", "equal bytes unread", "equal bytes damaged", "others unread", "others damaged"],
)
def test_a_late_commit_replaces_no_copy_of_a_later_version(rig: Rig, record: dict[str, str]) -> None:
    """Bytes that were put again have the same ETag, and a copy that is not read back yet has a worker of its own."""
    rig.current = record["s3_etag"]
    rig.azure.write("b", b"????", metadata=record)
    with pytest.raises(DestinationConflict, match="newer version"):
        rig.commit(ABSENT)
    assert rig.content() == b"????"


def test_a_rollback_replaces_an_unread_copy_of_the_later_version(rig: Rig) -> None:
    """S3 says which version is current."""
    rig.azure.write("b", b"????", metadata={**PENDING, **NEWER})
    rig.commit(ABSENT)
    assert (rig.content(), rig.asked) == (b"ours", 1)


@pytest.mark.parametrize("may_replace", [True, False])
@pytest.mark.parametrize("record", [OTHERS, {**OTHERS, "s3_verified_by": "damaged"}, {**OTHERS, "s3_etag": "x"}])
def test_the_copy_of_another_object_is_never_replaced_meanwhile(
    rig: Rig, record: dict[str, str], may_replace: bool
) -> None:
    """It appeared after the plan, and the error says what it is."""
    rig.azure.write("b", b"????", metadata=record)
    with pytest.raises(BlobOfAnotherObject, match="blob_prefix") as caught:
        rig.commit(ABSENT, may_replace=may_replace)
    assert caught.value.attributes == {"blob": "b", "container": "container"}
    assert (rig.content(), rig.asked) == (b"????", 0)


@pytest.mark.parametrize("there", [RECORD, PENDING])
def test_a_blob_to_be_read_back_may_be_anothers(rig: Rig, there: dict[str, str]) -> None:
    """Whoever wrote it, its bytes are compared afterwards; one that was found damaged is written again."""
    rig.record = PENDING
    etag = rig.azure.write("b", b"ours", metadata=there)
    assert rig.committed(ABSENT) == Committed(etag, by_another=True)
    rig.azure.write("b", b"????", metadata=DAMAGED)
    rig.commit(ABSENT)
    assert rig.content() == b"ours"


@pytest.mark.parametrize("lost", [False, True])
def test_a_commit_knows_whether_its_own_write_can_have_made_the_blob(rig: Rig, lost: bool) -> None:
    """A first answer that refuses excludes it; after a lost answer both are possible."""
    if lost:
        rig.after = [LOST]
    else:
        rig.azure.write("b", b"ours", metadata=RECORD)
    assert rig.committed(ABSENT).by_another is not lost
    assert not rig.committed(Condition(rig.azure.blobs["b"].etag)).by_another


def test_a_lost_write_may_arrive_after_the_lookup(rig: Rig) -> None:
    """The blob that refuses the second write may be the work of the first."""
    rig.before = [LOST]
    rig.meanwhile = lambda: len(rig.conditions) == 2 and rig.azure.write("b", b"ours", metadata=RECORD)
    assert not rig.committed(ABSENT).by_another
    assert rig.azure.commits == 0


@pytest.mark.parametrize("code", ["LeaseIdMissing", "BlobImmutableDueToPolicy"])
def test_a_protected_blob_may_be_this_copy(rig: Rig, code: str) -> None:
    """A lease or a policy that begins with the write refuses the retry of a lost one, whose work is done."""
    etag = rig.azure.write("b", b"ours", metadata=RECORD)
    refusal = BlobLeased if code.startswith("Lease") else BlobImmutable
    rig.before = [refusal(blob="b", container="container", code=code)]
    assert rig.commit(ABSENT) == etag


def test_same_etag_of_another_size_is_a_conflict(rig: Rig) -> None:
    """A blob that records our ETag but has another size is not ours."""
    rig.azure.write("b", b"not ours", metadata=RECORD)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert rig.content() == b"not ours"


@pytest.mark.parametrize("error", [LOST, ServerFailed(service="Azure", status=500, code="InternalError", resource="b")])
def test_lost_answer_after_the_commit_is_looked_up(rig: Rig, error: TransferError) -> None:
    """Invariant 6: after a lost answer the blob is looked up, and a write that happened is not repeated."""
    rig.after = [error]
    assert rig.commit(ABSENT) == rig.azure.blobs["b"].etag
    assert (rig.azure.commits, len(rig.conditions)) == (1, 1)


def test_a_copy_without_a_checksum_is_done_by_its_level(rig: Rig) -> None:
    """What S3 has no checksum of has none in the record either, and is written once all the same."""
    rig.record = record_of(OURS)
    rig.after = [LOST]
    rig.commit(ABSENT)
    assert (rig.azure.commits, len(rig.conditions)) == (1, 1)


def test_lost_request_is_sent_again(rig: Rig) -> None:
    """A request that never arrived is sent again under the same condition."""
    planned = Condition(rig.azure.write("b", b"before"))
    rig.before = [LOST, LOST]
    rig.commit(planned)
    assert rig.conditions == [planned] * 3
    assert rig.retried == [LOST, LOST]
    assert rig.content() == b"ours"


def test_lost_request_over_an_equal_copy_is_sent_again(rig: Rig) -> None:
    """Where an equal copy existed before, only a new ETag shows that the write happened."""
    planned = Condition(rig.azure.write("b", b"ours", metadata=RECORD))
    rig.before = [LOST]
    assert rig.commit(planned) != planned.etag
    assert len(rig.conditions) == 2


def test_lost_requests_beyond_the_budget_raise(rig: Rig) -> None:
    """The last error is raised, and nothing was written."""
    rig.before = [LOST] * 10
    with pytest.raises(ConnectionFailed):
        rig.commit(ABSENT)
    assert len(rig.conditions) == QUICK.attempts
    assert rig.azure.blobs == {}


@pytest.mark.parametrize("metadata", [OLDER, NEWER, SAME_SECOND], ids=["older", "newer", "same second"])
def test_outdated_copy_written_meanwhile_is_replaced_once(rig: Rig, metadata: dict[str, str]) -> None:
    """If ours is S3's current version, a copy of another one is replaced under its own ETag, whatever its date."""
    outdated = rig.azure.write("b", b"outdated", metadata=metadata)
    rig.commit(ABSENT)
    assert (rig.conditions, rig.asked) == ([ABSENT, Condition(outdated)], 1)
    assert rig.content() == b"ours"


@pytest.mark.parametrize("metadata", [OLDER, NEWER, SAME_SECOND], ids=["older", "newer", "same second"])
@pytest.mark.parametrize("current", ["another", None], ids=["changed", "deleted"])
def test_late_commit_replaces_no_other_copy(rig: Rig, metadata: dict[str, str], current: str | None) -> None:
    """A version that is no longer the current one replaces no copy, also if its date is later (a rollback in S3)."""
    rig.current = current
    rig.azure.write("b", b"theirs", metadata=metadata)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert (rig.content(), rig.asked) == (b"theirs", 1)


def test_copy_of_another_object_written_meanwhile_is_kept(rig: Rig) -> None:
    """Two migrations into the same names: S3's current version of ours says nothing about the other object."""
    foreign = {"s3_source": source_id(OURS.bucket, "another")}
    rig.azure.write("b", b"theirs", metadata=OLDER | foreign)
    with pytest.raises(BlobOfAnotherObject):
        rig.commit(ABSENT)
    assert (rig.content(), rig.asked) == (b"theirs", 0)


def test_version_that_becomes_current_meanwhile_is_kept(rig: Rig) -> None:
    """A copy that is committed after S3 was asked has another ETag, so that it is not replaced."""
    rig.azure.write("b", b"outdated", metadata=OLDER)
    writes = iter([b"", b"rolled back"])

    def other_worker() -> None:
        if data := next(writes):
            rig.current = "newer"
            rig.azure.write("b", data, metadata=NEWER)

    rig.meanwhile = other_worker
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert rig.content() == b"rolled back"


def test_older_copy_written_again_is_a_conflict(rig: Rig) -> None:
    """A second older copy ends the commit, so that two writers do not overwrite each other for ever."""
    rig.meanwhile = lambda: rig.azure.write("b", b"older", metadata=OLDER)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 2
    assert rig.content() == b"older"


def test_overwrite_never_keeps_an_older_copy(rig: Rig) -> None:
    """``may_replace=False`` does not replace a copy that appeared meanwhile."""
    rig.azure.write("b", b"older", metadata=OLDER)
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT, may_replace=False)
    assert (rig.content(), rig.asked) == (b"older", 0)


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
def test_other_blobs_are_a_conflict(rig: Rig, metadata: dict[str, str], detail: str, staged: bool) -> None:
    """Copies of other versions, while ours is no longer the current one, and foreign blobs are a conflict, and stay."""
    rig.current = "another"
    rig.azure.write("b", b"theirs", metadata=metadata)
    with pytest.raises(DestinationConflict, match=detail) as caught:
        rig.commit(ABSENT, staged=staged)
    assert (caught.value.attributes["blob"], caught.value.attributes["container"]) == ("b", rig.azure.container)
    assert rig.content() == b"theirs"
    assert len(rig.conditions) == 1


def test_deleted_since_the_plan_is_a_conflict(rig: Rig) -> None:
    """A blob that was deleted since the plan is not written."""
    with pytest.raises(DestinationConflict, match=r"\(it was deleted\)"):
        rig.commit(Condition("0x1"))
    assert rig.azure.blobs == {}


def test_refused_block_list_is_staged_again(rig: Rig) -> None:
    """Blocks that Azure no longer holds are staged again, for up to three rounds."""
    rig.before = [REFUSED, REFUSED, REFUSED]
    rig.commit(ABSENT)
    assert rig.restaged == 3
    assert rig.content() == b"ours"


def test_block_list_refused_for_ever_is_a_conflict(rig: Rig) -> None:
    """After three rounds the commit is a conflict that names the refusal."""
    rig.before = [REFUSED] * 10
    with pytest.raises(DestinationConflict, match="block_list_refused") as caught:
        rig.commit(ABSENT)
    assert caught.value.attributes["blob"] == "b"
    assert rig.restaged == 3


def test_block_list_refused_after_anothers_commit(rig: Rig) -> None:
    """Where the blocks are gone because another worker committed them, the commit succeeds without staging again."""
    etag = rig.azure.write("b", b"ours", metadata=RECORD)
    rig.before = [REFUSED]
    assert rig.commit(ABSENT) == etag
    assert rig.restaged == 0


def test_block_list_refused_after_a_foreign_write(rig: Rig) -> None:
    """Where a foreign write dropped the blocks, the commit is a conflict."""
    rig.azure.write("b", b"theirs")
    rig.before = [REFUSED]
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert (rig.restaged, rig.content()) == (0, b"theirs")


def test_put_blob_refused_over_leftover_blocks(rig: Rig) -> None:
    """Put Blob that is refused although no blob exists raises ``LeftoverBlocks``."""
    rig.azure.stage_foreign("b", b"x" * 52, b"left over")
    with pytest.raises(LeftoverBlocks):
        rig.commit(ABSENT, staged=False)


def test_put_blob_refused_although_the_blob_is_as_planned(rig: Rig) -> None:
    """Only where there is no blob are leftover blocks the reason; else it is a conflict."""
    planned = Condition(rig.azure.write("b", b"before"))
    rig.before = [ConditionNotMet(blob="b", container="container", code="ConditionNotMet")] * 10
    with pytest.raises(DestinationConflict):
        rig.commit(planned, staged=False)
    assert (len(rig.conditions), rig.content()) == (1, b"before")


def test_block_list_refused_as_existing_without_a_blob(rig: Rig) -> None:
    """A commit of blocks does not repeat a write whose condition is refused although it fits."""
    rig.before = [ConditionNotMet(blob="b", container="container", code="BlobAlreadyExists")] * 10
    with pytest.raises(DestinationConflict):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 1


@pytest.mark.parametrize(
    "error",
    [BlobLeased(blob="b", container="container", code="LeaseIdMissing"), ContainerNotFound(container="container")],
)
def test_permanent_errors_are_raised_at_once(rig: Rig, error: TransferError) -> None:
    """A lease or a missing container is raised without another try."""
    rig.before = [error] * 5
    with pytest.raises(type(error)):
        rig.commit(ABSENT)
    assert len(rig.conditions) == 1


def test_container_deleted_before_the_lookup(rig: Rig) -> None:
    """Where the lookup after a lost answer fails, its error is raised."""
    rig.before = [LOST]
    rig.meanwhile = lambda: setattr(rig.azure, "exists", False)
    with pytest.raises(ContainerNotFound):
        rig.commit(ABSENT)


class TestLog:
    """The log lines of a commit that needed more than one request."""

    @pytest.fixture(autouse=True)
    def log(self, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
        """Record every line from INFO on."""
        caplog.set_level(logging.INFO)
        return caplog

    def test_success_logs_nothing(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """A commit at the first try logs no line per object."""
        rig.commit(ABSENT)
        assert log.messages == []

    def test_lost_answer(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """The line says that the write had happened."""
        rig.after = [LOST]
        rig.commit(ABSENT)
        said = "Blob 'b' already holds this version: an answer was lost, or another worker committed it"
        assert log.messages == [said]

    def test_blocks_that_are_gone(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """Each round has its line and number."""
        rig.before = [REFUSED, REFUSED]
        rig.commit(ABSENT)
        said = "Azure no longer holds every block of 'b': staging again, round {}"
        assert log.messages == [said.format(1), said.format(2)]

    def test_older_copy_written_meanwhile(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """The line says which copy is replaced."""
        rig.azure.write("b", b"older", metadata=OLDER)
        rig.commit(ABSENT)
        said = "Blob 'b' was written from a version that is not the object's current one: replacing that copy"
        assert log.messages == [said]

    def test_unproven_copy_written_meanwhile(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        """The line says why a blob that calls itself this copy is replaced."""
        rig.azure.write("b", b"????", metadata=DAMAGED)
        rig.commit(ABSENT)
        assert log.messages == ["Blob 'b' calls itself this copy, and does not prove it: writing it again"]

    def test_failed_lookup(self, rig: Rig, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        """The retry's line says that the blob was looked up."""
        rig.after, lost = [LOST], [LOST]
        look = rig.azure.head

        def head(blob: str) -> BlobState | None:
            if lost:
                raise lost.pop()
            return look(blob)

        monkeypatch.setattr(rig.azure, "head", head)
        rig.commit(ABSENT)
        assert log.messages[0].startswith(f"Try 1 of {QUICK.attempts} to look up blob 'b' failed, next in ")
