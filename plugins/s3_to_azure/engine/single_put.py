"""An object in one request: an empty one, or one of a single block, proven before a Put Blob makes it visible."""

import logging

from s3_to_azure.engine import proof
from s3_to_azure.engine.block_copy import BlockCopy
from s3_to_azure.engine.commit import Commit, LeftoverBlocks, commit
from s3_to_azure.engine.evidence import MOST_READINGS
from s3_to_azure.engine.object_copy import ObjectCopy
from s3_to_azure.engine.pump import fill
from s3_to_azure.engine.rungs import Rung
from s3_to_azure.model import checksums
from s3_to_azure.model.errors import RereadDiffers
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Condition, ObjectVersion, Receipt
from s3_to_azure.model.ports import BodyReader
from s3_to_azure.transfer.blocks import NO_SECOND, Layout, StagedBlock, fingerprint

log = logging.getLogger(__name__)


def copy_empty(copy: ObjectCopy, version: ObjectVersion, rung: Rung, condition: Condition) -> Receipt:
    """Copy an object of no bytes, which cannot be read in ranges."""
    nothing = memoryview(b"")
    proof.compare(version, rung.value_of(nothing))
    try:
        _put(copy, version, nothing, 0, condition)
    except LeftoverBlocks:
        # Nothing can be staged for an empty object; an empty block list makes the empty blob.
        BlockCopy(copy, version, Layout(0, MIB)).commit(condition)
    else:
        _read_back(copy, version, 0)
    return copy.copied(version, blocks=0)


def copy_whole(copy: ObjectCopy, version: ObjectVersion, condition: Condition) -> Receipt:
    """Copy an object of one block; where blocks left over stand in the way, as a staged block."""
    with copy.shop.buffers.lend(version.size_bytes) as view:
        version, crc64 = _read_proven(copy, version, view)
        try:
            _put(copy, version, view, crc64, condition)
        except LeftoverBlocks:
            in_blocks = True
        else:
            in_blocks = False
    # Without its buffer from here on, which others may wait for.
    if not in_blocks:
        _read_back(copy, version, crc64)
        return copy.copied(version, blocks=1)
    log.info("Blob %r has uncommitted blocks left over: taking the block path", copy.task.blob)
    _, rung = copy.evidence.on_its_rung(version)
    return BlockCopy(copy, version, Layout(version.size_bytes, version.size_bytes, rung.edges)).run(condition)


def _read_proven(copy: ObjectCopy, version: ObjectVersion, view: memoryview) -> tuple[ObjectVersion, int]:
    """Read the whole object until its bytes fit its checksum; a second mismatch is final.

    Where it must be read twice and has none: until two readings in a row are alike.
    """
    evidence = copy.evidence
    seen: list[ObjectVersion] = []
    before: int | None = None

    def opened(body: BodyReader) -> None:
        seen.append(body.version)

    for reading in range(1, MOST_READINGS + 1):
        seen.clear()
        fill(
            copy.shop.source,
            version,
            0,
            view,
            retrier=copy.retrier,
            cancelled=copy.shop.cancelled,
            opened=opened,
            whole=True,
        )
        # The first body is the whole object's, so its headers hold all; later ones only resume it.
        read, rung = evidence.on_its_rung(seen[0])
        crc64 = checksums.CRC64NVME.digest(view)
        actual = rung.value_of(view)
        if not proof.fits(read, actual) and evidence.guessed_wrong(read):
            read, rung = evidence.on_its_rung(seen[0])
            actual = rung.value_of(view)
        if evidence.must_reread(read):
            evidence.was_reread = crc64 == before
            if evidence.was_reread:
                return read, crc64
            before = crc64
            continue
        if reading > 1:
            proof.compare(read, actual)
        if proof.fits(read, actual):
            return read, crc64
        log.warning("The bytes of %r do not fit S3's checksum: reading it again", version.key)
    raise RereadDiffers(key=version.key)


def _put(copy: ObjectCopy, version: ObjectVersion, view: memoryview, crc64: int, condition: Condition) -> None:
    destination, blob = copy.shop.destination, copy.task.blob
    contents = copy.belongings.contents(version)
    step = Commit(
        version,
        blob,
        lambda condition: destination.put_blob(blob, view, crc64, contents, condition),
        restage=None,
        may_replace=copy.shop.settings.overwrite != "never",
    )
    commit(destination, step, condition, copy.retrier)
    copy.ledger.sent(version.size_bytes)


def _read_back(copy: ObjectCopy, version: ObjectVersion, crc64: int) -> None:
    copy.evidence.read_back([StagedBlock(0, version.size_bytes, crc64, NO_SECOND, fingerprint(version))])
