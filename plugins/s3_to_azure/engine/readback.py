"""The proof after the commit: the blob read back from Azure, compared with what was sent."""

from collections.abc import Iterable
from typing import Final

from s3_to_azure.engine.buffers import BufferPool
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import ReadbackDiffers
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.ports import BlobDestination
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.blocks import StagedBlock

_PIECE_BYTES: Final = 4 * MIB


def read_back(
    destination: BlobDestination, blob: str, sent: Iterable[StagedBlock], *, buffers: BufferPool, retrier: Retrier
) -> None:
    """Read a committed blob and compare the CRC64 of each of its blocks with what was sent.

    Args:
        destination: Where it is.
        blob: Its name.
        sent: Its blocks in offset order.
        buffers: The memory budget; a piece counts in it while it is held.
        retrier: Budget of each request.

    Raises:
        ReadbackDiffers: Azure gives other bytes.
    """
    for block in sent:
        crc64 = 0
        for start in range(block.start, block.end, _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, block.end)
            with buffers.lend(end - start):
                piece = _read(destination, blob, start, end, retrier)
                crc64 = _combined(crc64, piece)
        if crc64 != block.crc64:
            raise ReadbackDiffers(blob=blob, container=destination.container, start=block.start, end=block.end)


def _read(destination: BlobDestination, blob: str, start: int, end: int, retrier: Retrier) -> bytes:
    return retrier.call(f"read bytes {start} to {end} of blob {blob!r}", lambda: destination.read(blob, start, end))


def _combined(crc64: int, piece: bytes) -> int:
    assert CRC64NVME.combine is not None
    return CRC64NVME.combine(crc64, CRC64NVME.digest(memoryview(piece)), len(piece))
