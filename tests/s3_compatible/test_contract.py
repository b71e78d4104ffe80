"""The contract of ``ObjectSource``, kept on real S3-compatible stores, and copies by their presigned URLs."""

from contextlib import closing
from typing import Any, Final

import pytest

from s3_to_azure.model.errors import AccessError, ObjectNotFound, TransferError, UnexpectedResponse
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.stores.http.settings import HttpSettings
from s3_to_azure.stores.presigned.source import PresignedSource
from s3_to_azure.stores.presigned.url import parse_url
from s3_to_azure.transfer.object import copy_object
from tests.contracts import test_object_source as contract
from tests.fakes.contexts import some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.s3_compatible.conftest import Store

pytestmark = pytest.mark.slow

# These need checksums that S3 alone keeps, or a page of 1,000 keys; test_keys has the keys that each store takes.
S3_ALONE = {
    contract.test_composite_checksum_is_not_offered_as_full,
    contract.test_multipart_full_object_checksum,
    contract.test_listing_of_several_pages,
    contract.test_unusual_keys,
}
CASES = {name: case for name, case in vars(contract).items() if name.startswith("test_") and case not in S3_ALONE}
# pytest collects them here, with the rig below.
globals().update(CASES)


@pytest.fixture
def rig(store: Store) -> contract.Rig:
    """Give each test the real stores in turn, instead of the fake and LocalStack."""

    def put(key: str, data: bytes, **options: Any) -> ObjectVersion:
        checksum = {"checksum": None}
        return contract._put(store.client, store.source, store.bucket, key, data, **(options | checksum))

    return contract.Rig(
        store.source,
        store.bucket,
        put,
        lambda key: store.client.delete_object(Bucket=store.bucket, Key=key),
        stores_checksums=False,
        keeps_files=store.keeps_files,
    )


def test_the_cases_of_the_contract_are_collected(request: pytest.FixtureRequest) -> None:
    """The loop above has found them, and each runs on every store."""
    assert len(CASES) >= 15
    module = [item for item in request.session.items if item.path == request.path]
    if len(module) > 1:
        assert {getattr(item, "originalname", "") for item in module} >= set(CASES)


# -- presigned URLs ---------------------------------------------------------------------------------------------------

BY_URL: Final = {"d/empty": b"", "d/small ü+": b"1" * 1000, "d/blocks": some_bytes(3 * MIB + 5)}


def copied(store: Store, key: str, change: Any = None) -> tuple[Any, MemoryDestination]:
    """Copy an object by a URL that boto3 has presigned; return the receipt and the container."""
    text = str(store.client.generate_presigned_url("get_object", Params={"Bucket": store.bucket, "Key": key}))
    url = parse_url(change(text) if change else text, name="SRC")
    assert (url.bucket, url.key) == (store.bucket, key)
    destination = MemoryDestination("container")
    with (
        closing(PresignedSource([url], HttpSettings())) as source,
        transfer_context(source, destination) as context,
    ):
        return copy_object(context, task(key, store.bucket)), destination


@pytest.mark.parametrize("key", BY_URL)
def test_objects_are_copied_by_their_urls(store: Store, key: str) -> None:
    """Their bytes are equal, and a copy with credentials finds the blob to be its own."""
    store.client.put_object(Bucket=store.bucket, Key=key, Body=BY_URL[key])
    receipt, destination = copied(store, key)
    assert destination.blobs[key].data == BY_URL[key]
    assert (receipt.status, receipt.verified_by) == ("copied", "md5")
    with transfer_context(store.source, destination) as context:
        assert copy_object(context, task(key, store.bucket)).status == "unchanged"


def test_a_changed_url_and_a_missing_object_are_permanent(store: Store) -> None:
    """Each store refuses in its own words."""
    store.client.put_object(Bucket=store.bucket, Key="k", Body=b"data")
    with pytest.raises(AccessError):
        copied(store, "k", lambda text: text[:-4] + ("0000" if text[-4:] != "0000" else "1111"))
    with pytest.raises(TransferError) as raised:
        copied(store, "none")
    assert isinstance(raised.value, (ObjectNotFound, AccessError, UnexpectedResponse))
