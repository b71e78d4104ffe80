"""A store that does not know an optional request: the object is copied at the next verification level, and logged."""

from collections.abc import Callable

import boto3
import pytest
from botocore.config import Config

from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Condition
from s3_to_azure.stores.event_loop.loop import small_object_client
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.pool import copy_many
from tests.fakes.contexts import some_bytes, task, transfer_context
from tests.faults.conftest import Clouds
from tests.faults.faulty_proxy import Answer, Request
from tests.fidelity.uploads import put_parts, upload_for

DATA = some_bytes(11 * MIB + 5)
INVALID = Answer(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
# Backblaze B2 answers 400, Swift 405, Cloudflare R2 501.
REFUSALS = [INVALID, Answer(405), Answer(501)]


def by_status(answer: Answer) -> str:
    """Return a test's id."""
    return str(answer.status)


def asks_for_checksums(request: Request) -> bool:
    """Say whether the request has the header that some stores refuse."""
    return "x-amz-checksum-mode" in request.headers


def asks_for_a_part(request: Request) -> bool:
    """Say whether the request is for one part of an object."""
    return "partNumber=" in request.path


def refuse(clouds: Clouds, is_refused: Callable[[Request], bool], answer: Answer) -> None:
    """Let the store refuse such requests from now on."""
    clouds.s3.plan = lambda request: answer if is_refused(request) else None


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the store logged."""
    return [record.getMessage() for record in caplog.records if record.name == "s3_to_azure.stores.s3.source"]


@pytest.mark.parametrize("answer", REFUSALS, ids=by_status)
def test_checksums_that_cannot_be_asked_for(clouds: Clouds, caplog: pytest.LogCaptureFixture, answer: Answer) -> None:
    """Objects of one request and of several are copied; the header is sent no more, and the log says so once."""
    refuse(clouds, asks_for_checksums, answer)
    for key, size in (("small", 1_000), ("empty", 0), ("large", 3 * MIB)):
        clouds.put(DATA[:size], key)
        receipt = clouds.copy(key)
        assert (receipt.status, receipt.verified_by) == ("copied", "md5")
        assert clouds.blob(key) == DATA[:size]
    assert len(warnings(caplog)) == 1
    assert "x-amz-checksum-mode" in warnings(caplog)[0]
    # Two refusals, each of which botocore may look into: none comes from a second or third object.
    assert sum(map(asks_for_checksums, clouds.s3.seen)) <= 4


@pytest.mark.parametrize("answer", REFUSALS, ids=by_status)
def test_many_small_objects_without_checksums(clouds: Clouds, caplog: pytest.LogCaptureFixture, answer: Answer) -> None:
    """The client of small objects stops asking too, and all arrive."""
    refuse(clouds, asks_for_checksums, answer)
    for number in range(40):
        clouds.put(DATA[:number], f"d/{number:02}")
    listing = clouds.source.list(clouds.bucket, "d/")
    tasks = [task(item.key, clouds.bucket, listed=item, condition=Condition(None)) for item in listing]
    client = small_object_client(clouds.source, clouds.destination)
    with transfer_context(clouds.source, clouds.destination, small_object_client=client) as context:
        outcomes = list(copy_many(context, tasks))
    assert [outcome.receipt.verified_by for outcome in outcomes] == ["md5"] * 40
    assert all(clouds.blob(f"d/{number:02}") == DATA[:number] for number in range(40))
    assert len(warnings(caplog)) == 1


def test_a_refusal_with_another_cause_costs_no_checksum(clouds: Clouds, caplog: pytest.LogCaptureFixture) -> None:
    """S3 answers 400 to an expired token as well: the next requests ask for checksums again."""
    clouds.put(DATA)
    clouds.s3.fail("head", INVALID)
    assert clouds.copy().verified_by == "crc64nvme"
    assert warnings(caplog) == []


def test_a_store_that_refuses_everything_says_so(clouds: Clouds) -> None:
    """A refusal without the header too is the object's own error, and the source still asks for checksums."""
    clouds.put(DATA)
    clouds.s3.plan = lambda request: INVALID if request.method == "HEAD" and request.path.endswith("/k") else None
    with pytest.raises(TransferError):
        clouds.source.head(clouds.bucket, "k")
    clouds.s3.plan = lambda _: None
    assert clouds.source.head(clouds.bucket, "k").checksum is not None


def test_the_setting_of_boto3_is_obeyed(clouds: Clouds) -> None:
    """With response_checksum_validation="when_required" no request asks for checksums."""
    config = botocore_config(4, Config(response_checksum_validation="when_required"))
    options = {"endpoint_url": clouds.s3.url, "region_name": "us-east-1", "config": config}
    keys = {"aws_access_key_id": clouds.s3_server.access_key, "aws_secret_access_key": clouds.s3_server.secret_key}
    source = S3Source(boto3.Session(**keys), options)
    clouds.put(DATA)
    version = source.head(clouds.bucket, "k")
    with source.open(version) as body:
        assert body.version.checksum is version.checksum is None
    _, headers = source.signed_get(next(iter(source.list(clouds.bucket, "k"))))
    assert "x-amz-checksum-mode" not in {name.lower() for name in headers}
    assert not any(map(asks_for_checksums, clouds.s3.seen))
    source.close()


@pytest.mark.parametrize("answer", REFUSALS, ids=by_status)
@pytest.mark.parametrize("level", ["md5_composite", "crc32c_composite"])
def test_parts_that_cannot_be_looked_up(
    clouds: Clouds, caplog: pytest.LogCaptureFixture, level: str, answer: Answer
) -> None:
    """Objects uploaded in parts are copied, verified by their transfer, and the log says once why."""
    refuse(clouds, lambda request: asks_for_a_part(request) or "attributes" in request.path, answer)
    for key in ("one", "two"):
        upload_for(level, clouds.s3_client, clouds.bucket, key, DATA)
        assert clouds.copy(key).verified_by == "transport"
        assert clouds.blob(key) == DATA
    assert len(warnings(caplog)) == 1
    assert "parts" in warnings(caplog)[0]


def test_parts_that_are_not_listed_are_requested_one_by_one(clouds: Clouds) -> None:
    """A store that does not know GetObjectAttributes may know part numbers: the level is the same."""
    upload_for("crc32c_composite", clouds.s3_client, clouds.bucket, "k", DATA)
    refuse(clouds, lambda request: "attributes" in request.path, Answer(501))
    assert clouds.copy().verified_by == "crc32c_composite"
    assert any(map(asks_for_a_part, clouds.s3.seen))


def test_a_refused_part_is_no_reason_for_a_weaker_level_if_all_is_refused(clouds: Clouds) -> None:
    """Credentials that expire at this moment fail the look-up instead of the verification."""
    put_parts(clouds.s3_client, clouds.bucket, "k", DATA, [5 * MIB, 5 * MIB], ChecksumAlgorithm="SHA256")
    version = clouds.source.head(clouds.bucket, "k")
    clouds.s3.plan = lambda _: INVALID
    with pytest.raises(TransferError):
        clouds.source.part_sizes(version)


@pytest.mark.parametrize("status", [405, 501])
def test_tags_that_the_store_does_not_know(clouds: Clouds, caplog: pytest.LogCaptureFixture, status: int) -> None:
    """There are none to copy, and the log says so once."""
    refuse(clouds, lambda request: "tagging" in request.path, Answer(status))
    assert [clouds.source.tags(clouds.bucket, key) for key in ("a", "b")] == [{}, {}]
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("status", [405, 501])
def test_a_request_that_is_needed_is_refused_for_good(clouds: Clouds, data: bytes, status: int) -> None:
    """The bytes cannot be done without: a permanent error, without six tries."""
    assert data
    clouds.s3.plan = lambda request: Answer(status) if request.method == "GET" else None
    with pytest.raises(TransferError) as caught, clouds.transfer_context() as context:
        copy_object(context, task("k", clouds.bucket))
    assert caught.value.reason() == "request_not_supported"
    assert sum(request.method == "GET" for request in clouds.s3.seen) <= 8
