"""Each documented refusal of accounts that no emulator simulates becomes one error with a sentence, or a skip.

These tests do not run against a real Azure account; docs/fidelity.md says so.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest

from local_cloud.servers import AZURITE_ACCOUNT, AZURITE_KEY, LocalAzure
from s3_to_azure.model.errors import (
    AccountNotSuitable,
    BlobArchived,
    BlobImmutable,
    EncryptionRefused,
    NameRefused,
    NotReady,
    TagsRefused,
    TierRefused,
    TransferError,
    UnexpectedResponse,
    WrittenThroughDatalakeApi,
    WrongBlobType,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.settings import CopySettings, Fidelity, RetryBudget
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import Outcome, try_copy
from tests.fakes.memory_source import MemorySource
from tests.fidelity.documented_azure import XML, Answer, documented_azure
from tests.real_stores import azure_container

EXISTING: Mapping[str, str] = {
    "ETag": '"there"',
    "x-ms-blob-type": "BlockBlob",
    "Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT",
}
HIERARCHICAL = Answer(200, headers={"x-ms-is-hns-enabled": "true"})


class Tagged(MemorySource):
    """Objects that all have one tag."""

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the tag."""
        return {"team": "data"}


def copied(
    answers: Mapping[str, Answer], *, size_bytes: int, key: str = "k", **settings: Any
) -> tuple[Outcome, list[str]]:
    """Copy one object to an account with these answers; return the outcome and the kinds of requests."""
    source = Tagged("b")
    source.put("b", key, b"x" * size_bytes)
    with documented_azure(answers) as (url, asked):
        server = LocalAzure("", url, AZURITE_ACCOUNT, AZURITE_KEY)
        destination = azure_container(server, "container")
        quick = RetryBudget(attempts=2, first_wait_s=0.01, longest_wait_s=0.01)
        chosen = CopySettings(block_bytes=MIB, connections=1, retry=quick, **settings)
        with open_context(source, destination, chosen) as context:
            context.check_access("b")
            outcome = try_copy(context, CopyTask("b", key, key, listed=source.listed("b", key)))
        destination.close()
    return outcome, asked


def checked(answers: Mapping[str, Answer], *, create: bool = False) -> list[str]:
    """Look at the container of an account with these answers; return the kinds of requests."""
    with documented_azure(answers) as (url, asked):
        destination = azure_container(LocalAzure("", url, AZURITE_ACCOUNT, AZURITE_KEY), "container")
        with closing(destination):
            destination.check(create=create)
    return asked


PAGE_BLOBS = {"x-ms-sku-name": "Premium_LRS", "x-ms-account-kind": "StorageV2", "x-ms-is-hns-enabled": "false"}


@pytest.mark.parametrize(
    ("size_bytes", "refusal"),
    [(5, Answer(400, "BlobTypeNotSupported")), (2 * MIB, Answer(400, "InvalidQueryParameterValue"))],
    ids=["one request", "blocks"],
)
def test_an_account_for_page_blobs_is_named(size_bytes: int, refusal: Answer) -> None:
    """Azure refuses a block with a code that says nothing of the account."""
    refusals = {"put blob": refusal, "put block": refusal, "account": Answer(200, headers=PAGE_BLOBS)}
    outcome, _ = copied(refusals, size_bytes=size_bytes)
    assert type(outcome.error) is AccountNotSuitable


def test_a_container_whose_name_is_still_taken_is_not_ready() -> None:
    """Just after its deletion a listing says that it does not exist, and creating it that it is being deleted."""
    answers = {"list": Answer(404, "ContainerNotFound"), "create container": Answer(409, "ContainerBeingDeleted")}
    with pytest.raises(NotReady, match="being deleted"):
        checked(answers, create=True)
    assert checked(answers | {"create container": Answer(201)}, create=True)[-1] == "create container"


def test_a_container_that_another_task_has_just_created_is_used() -> None:
    """Many tasks of a run may begin at once."""
    answers = {"list": Answer(404, "ContainerNotFound"), "create container": Answer(409, "ContainerAlreadyExists")}
    assert checked(answers, create=True)[-1] == "create container"


EITHER_WAY = pytest.mark.parametrize("size_bytes", [5, 2 * MIB], ids=["one request", "blocks"])


@EITHER_WAY
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (409, "BlobImmutableDueToPolicy", BlobImmutable),
        (409, "BlobImmutableDueToLegalHold", BlobImmutable),
        (409, "BlobArchived", BlobArchived),
        (409, "BlobBeingRehydrated", BlobArchived),
        (409, "BlobOperationNotSupported", WrittenThroughDatalakeApi),
        (409, "BlobUsesCustomerSpecifiedEncryption", EncryptionRefused),
        (403, "RequestForbiddenByContainerEncryptionPolicy", EncryptionRefused),
        (409, "ResourceTypeMismatch", WrongBlobType),
        (409, "PathConflict", WrongBlobType),
        (400, "OperationNotSupportedOnDirectory", WrongBlobType),
        (409, "InvalidBlobType", WrongBlobType),
    ],
)
def test_refused_write_is_named_and_not_repeated(
    status: int, code: str, error: type[TransferError], size_bytes: int
) -> None:
    """A write that the account refuses has an error of its own, and is not repeated or taken for a conflict."""
    refusal = Answer(status, code)
    existing = {"head": Answer(200, headers=EXISTING)}
    outcome, asked = copied({"put blob": refusal, "put block": refusal, **existing}, size_bytes=size_bytes)
    assert type(outcome.error) is error
    assert outcome.receipt.status == "failed"
    assert "'k'" in str(outcome.error)
    assert asked.count("put blob") + asked.count("put block") == 1
    assert "put block list" not in asked


@EITHER_WAY
def test_blob_under_a_customer_key_is_refused(size_bytes: int) -> None:
    """A blob under a customer-provided key cannot be looked up, and nothing is sent."""
    outcome, asked = copied({"head": Answer(409, "BlobUsesCustomerSpecifiedEncryption")}, size_bytes=size_bytes)
    assert type(outcome.error) is EncryptionRefused
    assert not {"put blob", "put block"} & set(asked)


@EITHER_WAY
@pytest.mark.parametrize("blob_type", ["AppendBlob", "PageBlob"])
def test_append_and_page_blobs_are_refused(blob_type: str, size_bytes: int) -> None:
    """A blob of another type is refused before a write, and skipped with ``overwrite="never"``."""
    existing = {"head": Answer(200, headers={**EXISTING, "x-ms-blob-type": blob_type})}
    outcome, asked = copied(existing, size_bytes=size_bytes)
    assert type(outcome.error) is WrongBlobType
    assert blob_type in str(outcome.error)
    assert not {"put blob", "put block"} & set(asked)
    outcome, _ = copied(existing, size_bytes=size_bytes, overwrite="never")
    assert (outcome.receipt.status, outcome.receipt.reason) == ("skipped", "destination_exists")


@pytest.mark.parametrize("name", ["ETag", "x-ms-blob-type"])
def test_a_look_up_without_a_header_that_is_needed_is_refused(name: str) -> None:
    """Absent is no default: no blob is replaced under a condition that nobody stated."""
    headers = {key: text for key, text in EXISTING.items() if key != name}
    outcome, asked = copied({"head": Answer(200, headers=headers)}, size_bytes=5)
    assert type(outcome.error) is UnexpectedResponse
    assert not {"put blob", "put block"} & set(asked)


class TestHierarchicalNamespace:
    """Accounts with a hierarchical namespace."""

    @EITHER_WAY
    def test_directory_is_not_replaced(self, size_bytes: int) -> None:
        """Where the key ``a`` is a directory in Azure, because ``a/b`` exists, the copy of ``a`` is refused."""
        directory = Answer(200, headers={**EXISTING, "x-ms-meta-hdi_isfolder": "true"})
        outcome, asked = copied({"account": HIERARCHICAL, "head": directory}, size_bytes=size_bytes)
        assert type(outcome.error) is WrongBlobType
        assert "directory" in str(outcome.error)
        assert not {"put blob", "put block"} & set(asked)

    @pytest.mark.parametrize("key", ["a//b", "/a", "a///"])
    def test_empty_segments_are_refused(self, key: str) -> None:
        """A key such as ``a//b`` is refused there, because it would become ``a/b``; other accounts keep both."""
        outcome, asked = copied({"account": HIERARCHICAL}, size_bytes=5, key=key)
        assert type(outcome.error) is NameRefused
        assert not {"put blob", "put block"} & set(asked)
        if not key.endswith("/"):
            outcome, _ = copied({}, size_bytes=5, key=key)
            assert outcome.error is None

    @EITHER_WAY
    @pytest.mark.parametrize(("resource_type", "refused"), [("directory", True), ("file", False), (None, False)])
    def test_only_azure_makes_a_directory(self, resource_type: str | None, refused: bool, size_bytes: int) -> None:
        """Azure's own word counts: metadata that anyone can set on a blob with bytes makes no directory of it."""
        metadata = {} if refused else {"x-ms-meta-hdi_isfolder": "true", "x-ms-meta-s3_etag": "older"}
        kind = {"x-ms-resource-type": resource_type} if resource_type else {}
        existing = {"head": Answer(200, headers={**EXISTING, **metadata, **kind})}
        outcome, _ = copied(existing, size_bytes=size_bytes)
        assert (type(outcome.error) is WrongBlobType) is refused

    @pytest.mark.parametrize(
        "answer", [Answer(403, "AuthorizationPermissionMismatch"), Answer(200, headers={"x-ms-sku-name": "x"})]
    )
    def test_unknown_is_not_flat(self, answer: Answer) -> None:
        """An identity that may not ask, or an answer that does not tell, leaves open what becomes of ``a//b``."""
        outcome, asked = copied({"account": answer}, size_bytes=5, key="a//b")
        assert type(outcome.error) is NameRefused
        assert "may not ask" in str(outcome.error)
        assert "put blob" not in asked

    def test_account_lookup_may_be_refused(self) -> None:
        """An identity that may not look up the account's kind can copy."""
        denied = Answer(403, "AuthorizationPermissionMismatch")
        outcome, _ = copied({"account": denied}, size_bytes=5)
        assert outcome.receipt.status == "copied"

    @EITHER_WAY
    def test_tags_are_refused(self, size_bytes: int) -> None:
        """With tags requested, an account that cannot have tags fails the object."""
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
def test_tier_of_a_premium_account_is_refused(status: int, code: str, size_bytes: int) -> None:
    """A requested tier that the account does not have is an error that names the setting."""
    refusal = {"put blob": Answer(status, code), "put block list": Answer(status, code)}
    outcome, _ = copied(refusal, size_bytes=size_bytes, fidelity=Fidelity(tiers={"STANDARD": "Cool"}))
    assert type(outcome.error) is TierRefused
    assert "tiers" in str(outcome.error)


@EITHER_WAY
def test_policy_that_refuses_only_the_commit(size_bytes: int) -> None:
    """An immutability policy that refuses only the block list has the same error."""
    refusal = Answer(409, "BlobImmutableDueToPolicy")
    existing = {"head": Answer(200, headers=EXISTING)}
    outcome, _ = copied({"put blob": refusal, "put block list": refusal, **existing}, size_bytes=size_bytes)
    assert type(outcome.error) is BlobImmutable
