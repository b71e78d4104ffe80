"""Destinations that no emulator plays: each answer, as Azure documents it, becomes one sentence or a skip.

None of this ran against real Azure (docs/fidelity.md says so).
"""

from collections.abc import Mapping
from typing import Any

import pytest

from local_cloud.servers import AZURITE_ACCOUNT, AZURITE_KEY, LocalAzure
from s3_to_azure.model.errors import (
    BlobArchived,
    BlobImmutable,
    EncryptionRefused,
    NameRefused,
    TagsRefused,
    TierRefused,
    TransferError,
    WrittenThroughDataLakeApi,
    WrongBlobType,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.settings import CopySettings, Fidelity, RetryBudget
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import Outcome, try_copy
from tests.fakes.memory_source import MemorySource
from tests.fidelity.recorded_azure import XML, Answer, recorded_azure
from tests.real_stores import azure_container

THERE: Mapping[str, str] = {
    "ETag": '"there"',
    "x-ms-blob-type": "BlockBlob",
    "Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT",
}
HIERARCHICAL = Answer(200, headers={"x-ms-is-hns-enabled": "true"})


class Tagged(MemorySource):
    """Objects that all have one tag."""

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """See the port."""
        return {"team": "data"}


def copied(
    answers: Mapping[str, Answer], *, size_bytes: int, key: str = "k", **settings: Any
) -> tuple[Outcome, list[str]]:
    """Copy one object to an account that answers so; return the outcome and the requests."""
    source = Tagged("b")
    source.put("b", key, b"x" * size_bytes)
    with recorded_azure(answers) as (url, asked):
        server = LocalAzure("", url, AZURITE_ACCOUNT, AZURITE_KEY)
        destination = azure_container(server, "container")
        quick = RetryBudget(attempts=2, first_wait_s=0.01, longest_wait_s=0.01)
        chosen = CopySettings(block_bytes=MIB, connections=1, retry=quick, **settings)
        with open_context(source, destination, chosen) as context:
            context.check_access("b")
            outcome = try_copy(context, CopyTask("b", key, key, listed=source.listed("b", key)))
        destination.close()
    return outcome, asked


EITHER_WAY = pytest.mark.parametrize("size_bytes", [5, 2 * MIB], ids=["one request", "blocks"])


@EITHER_WAY
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (409, "BlobImmutableDueToPolicy", BlobImmutable),
        (409, "BlobImmutableDueToLegalHold", BlobImmutable),
        (409, "BlobArchived", BlobArchived),
        (409, "BlobBeingRehydrated", BlobArchived),
        (409, "BlobOperationNotSupported", WrittenThroughDataLakeApi),
        (409, "BlobUsesCustomerSpecifiedEncryption", EncryptionRefused),
        (403, "RequestForbiddenByContainerEncryptionPolicy", EncryptionRefused),
        (409, "ResourceTypeMismatch", WrongBlobType),
        (409, "PathConflict", WrongBlobType),
        (409, "InvalidBlobType", WrongBlobType),
    ],
)
def test_refused_when_written(status: int, code: str, error: type[TransferError], size_bytes: int) -> None:
    """What refuses the bytes is named; nothing is tried again, and nothing is taken for a race with another writer."""
    refusal = Answer(status, code)
    there = {"head": Answer(200, headers=THERE)}
    outcome, asked = copied({"put blob": refusal, "put block": refusal, **there}, size_bytes=size_bytes)
    assert type(outcome.error) is error
    assert outcome.receipt.status == "failed"
    assert "'k'" in str(outcome.error)
    assert asked.count("put blob") + asked.count("put block") == 1
    assert "put block list" not in asked


@EITHER_WAY
def test_blob_under_a_key_of_its_own(size_bytes: int) -> None:
    """A blob under a customer-provided key does not even tell its properties; nothing is sent."""
    outcome, asked = copied({"head": Answer(409, "BlobUsesCustomerSpecifiedEncryption")}, size_bytes=size_bytes)
    assert type(outcome.error) is EncryptionRefused
    assert not {"put blob", "put block"} & set(asked)


@EITHER_WAY
@pytest.mark.parametrize("blob_type", ["AppendBlob", "PageBlob"])
def test_append_and_page_blobs(blob_type: str, size_bytes: int) -> None:
    """They are seen before anything is sent; with overwrite=never they are a skip like any other blob."""
    there = {"head": Answer(200, headers={**THERE, "x-ms-blob-type": blob_type})}
    outcome, asked = copied(there, size_bytes=size_bytes)
    assert type(outcome.error) is WrongBlobType
    assert blob_type in str(outcome.error)
    assert not {"put blob", "put block"} & set(asked)
    outcome, _ = copied(there, size_bytes=size_bytes, overwrite="never")
    assert (outcome.receipt.status, outcome.receipt.reason) == ("skipped", "destination_exists")


class TestHierarchicalNamespace:
    """Accounts with Data Lake's directories."""

    @EITHER_WAY
    def test_key_that_is_also_a_directory(self, size_bytes: int) -> None:
        """S3 has both ``a`` and ``a/b``; there, ``a`` is a directory, which is never replaced."""
        directory = Answer(200, headers={**THERE, "x-ms-meta-hdi_isfolder": "true"})
        outcome, asked = copied({"account": HIERARCHICAL, "head": directory}, size_bytes=size_bytes)
        assert type(outcome.error) is WrongBlobType
        assert "directory" in str(outcome.error)
        assert not {"put blob", "put block"} & set(asked)

    @pytest.mark.parametrize("key", ["a//b", "/a", "a///"])
    def test_empty_segments(self, key: str) -> None:
        """``a//b`` would become the blob of ``a/b``: refused there, taken by an account that keeps both apart."""
        outcome, asked = copied({"account": HIERARCHICAL}, size_bytes=5, key=key)
        assert type(outcome.error) is NameRefused
        assert not {"put blob", "put block"} & set(asked)
        if not key.endswith("/"):
            outcome, _ = copied({}, size_bytes=5, key=key)
            assert outcome.error is None

    def test_account_that_does_not_tell(self) -> None:
        """An identity that may not ask for the account's kind copies all the same."""
        denied = Answer(403, "AuthorizationPermissionMismatch")
        outcome, _ = copied({"account": denied}, size_bytes=5)
        assert outcome.receipt.status == "copied"

    @EITHER_WAY
    def test_no_tags(self, size_bytes: int) -> None:
        """Tags cannot be had there: the object fails rather than arrive without."""
        refusal = Answer(409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts")
        answers = {
            "account": HIERARCHICAL,
            "put blob": refusal,
            "put block list": refusal,
            "block list": Answer(
                200, headers=XML, body=b"<BlockList><CommittedBlocks /><UncommittedBlocks /></BlockList>"
            ),
        }
        outcome, _ = copied(answers, size_bytes=size_bytes, fidelity=Fidelity(tags=True))
        assert type(outcome.error) is TagsRefused


@EITHER_WAY
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "BlobAccessTierNotSupportedForAccountType"), (400, "AccessTierNotSupportedForBlobType")],
)
def test_premium_account_without_tiers(status: int, code: str, size_bytes: int) -> None:
    """A tier that the account does not have fails with its cure; without a wish, nothing is asked for."""
    refusal = {"put blob": Answer(status, code), "put block list": Answer(status, code)}
    outcome, _ = copied(refusal, size_bytes=size_bytes, fidelity=Fidelity(tiers={"STANDARD": "Cool"}))
    assert type(outcome.error) is TierRefused
    assert "tiers" in str(outcome.error)


@EITHER_WAY
def test_immutable_only_at_the_commit(size_bytes: int) -> None:
    """A policy may refuse the block list alone: named too, and looked at only once."""
    refusal = Answer(409, "BlobImmutableDueToPolicy")
    there = {"head": Answer(200, headers=THERE)}
    outcome, _ = copied({"put blob": refusal, "put block list": refusal, **there}, size_bytes=size_bytes)
    assert type(outcome.error) is BlobImmutable
