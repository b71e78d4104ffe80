"""The contract of ``ObjectSource``, kept on real S3-compatible stores."""

from typing import Any

import pytest

from s3_to_azure.model.objects import ObjectVersion
from tests.contracts import test_object_source as contract
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
