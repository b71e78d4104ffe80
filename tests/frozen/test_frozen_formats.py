"""Formats that must never change: block id, fingerprint, blob metadata, verbs of the command line, receipt fields."""

import argparse
import base64
from datetime import UTC, datetime

import pytest

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.model.checksums import CRC32, CRC32C, CRC64NVME, MD5
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import RECEIPT_FIELDS, ListedBlock, ObjectVersion
from s3_to_azure.transfer.blocks import (
    NO_SECOND,
    FetchedBlock,
    StagedBlock,
    fingerprint,
    parse,
    second_digest,
    staged_blocks,
)
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

VERSION = ObjectVersion("bucket", "a/key", "0123abcd", 12_345, datetime(2026, 1, 1, tzinfo=UTC))
MARK = fingerprint(VERSION)


@pytest.mark.parametrize(
    ("bucket", "key", "etag", "size_bytes", "frozen"),
    [
        ("bucket", "a/key", "0123abcd", 12_345, "a29131e511646c36"),
        ("bucket", "a/é ☃\n", "0123abcd-7", 0, "186f794acdd0c03c"),
        ("b", "k" * 1024, '"', 53_687_091_200_000, "30e6ac17a14eb7a2"),
    ],
)
def test_fingerprint_is_frozen(bucket: str, key: str, etag: str, size_bytes: int, frozen: str) -> None:
    """Another fingerprint of the same source version would orphan every block that is staged for it."""
    version = ObjectVersion(bucket, key, etag, size_bytes, datetime(2026, 1, 1, tzinfo=UTC))
    assert fingerprint(version).hex() == frozen


@pytest.mark.parametrize(
    ("block", "frozen"),
    [
        (StagedBlock(0, 1, 0, NO_SECOND, MARK), "AaKRMeURZGw2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (
            StagedBlock(0x010203040506, 0x010203040507, 2**64 - 1, bytes(range(16)), b"\xf0" * 8),
            "AfDw8PDw8PDwAQIDBAUG__________8AAQIDBAUGBwgJCgsMDQ4P",
        ),
        (
            StagedBlock(8 * MIB, 16 * MIB, 0xAE8B14860A799888, second_digest(CRC32, memoryview(b"123456789")), MARK),
            "AaKRMeURZGw2AAAAgAAArosUhgp5mIhjcmMzMgAAAAAAAADL9Dkm",
        ),
        (
            StagedBlock(8 * MIB, 16 * MIB, 1, second_digest(CRC32C, memoryview(b"123456789")), MARK),
            "AaKRMeURZGw2AAAAgAAAAAAAAAAAAAFjcmMzMmMAAAAAAADjBpKD",
        ),
        (
            StagedBlock(8 * MIB, 16 * MIB, 1, second_digest(MD5, memoryview(b"123456789")), MARK),
            "AaKRMeURZGw2AAAAgAAAAAAAAAAAAAEl-eeUMjtFOIX1GB8bYk0L",
        ),
    ],
)
def test_block_id_is_frozen(block: StagedBlock, frozen: str) -> None:
    """Version 1 of the block id is written and parsed byte for byte."""
    assert block.block_id == frozen
    assert parse(ListedBlock(frozen.encode("ascii"), block.size_bytes), block.fingerprint) == block
    assert base64.urlsafe_b64decode(frozen)[0] == 1


def test_ids_of_fetched_blocks_are_frozen() -> None:
    """Versions 2 and 3 of the id are written and parsed byte for byte; one is of use only with the other."""
    block = FetchedBlock(8 * MIB, 72 * MIB, 0xAE8B14860A799888, NO_SECOND, MARK, bytes(range(16)))
    data, note = (
        b"AqKRMeURZGw2AAAAgAAAAAAAAAAAAAAAAQIDBAUGBwgJCgsMDQ4P",
        b"A6KRMeURZGw2AAAAgAAArosUhgp5mIgAAQIDBAUGBwgJCgsMDQ4P",
    )
    assert (block.block_id.encode(), block.note_id.encode()) == (data, note)
    listed = [ListedBlock(data, block.size_bytes), ListedBlock(note, 1)]
    assert staged_blocks(listed, MARK) == [block]
    assert [parse(item, MARK) for item in listed] == [None, None], "an earlier version of this program ignores both"


def test_crc64_is_the_services_own() -> None:
    """The CRC64 of an id is S3's CRC64NVME and Azure's CRC64, whose check value is published."""
    assert CRC64NVME.digest(memoryview(b"123456789")) == 0xAE8B14860A799888


def test_metadata_of_a_blob_is_frozen() -> None:
    """A later run recognises a blob by these names and values."""
    source, destination = MemorySource(BUCKET), MemoryDestination()
    version = source.put(
        BUCKET, "k", some_bytes(3 * MIB), etag="0123abcd", last_modified=datetime(2026, 1, 1, tzinfo=UTC)
    )
    with transfer_context(source, destination) as context:
        copy_object(context, task())
    assert version.etag == "0123abcd"
    assert destination.blobs["k"].metadata == {
        "s3_etag": "0123abcd",
        "s3_last_modified": "2026-01-01T00:00:00+00:00",
        "s3_checksum": "crc64nvme:/yfikpaCHTs=",
        "s3_verified_by": "crc64nvme",
        "s3_source": "c8764b011d2de4813860362da365d58e",
    }


def test_verbs_of_the_command_line_are_frozen() -> None:
    """The command line has exactly the verbs that scripts call."""
    (commands,) = (action for action in command_line()._actions if isinstance(action, argparse._SubParsersAction))
    assert set(commands.choices) == {"certificate", "compare", "copy", "cp", "key", "ls", "plan", "sync", "verify"}


def test_fields_of_a_receipt_are_frozen() -> None:
    """Readers of receipts, from ``--json`` or the state files, rely on these names in this order."""
    assert " ".join(RECEIPT_FIELDS) == (
        "bucket key etag size_bytes container blob status reason verified_by checksum blocks blocks_resumed bytes_sent"
        " retries seconds started_at try_number via blocks_fetched blocks_streamed not_fetched"
    )
