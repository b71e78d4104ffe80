"""Airflow's own operator and ours with the same arguments on the same data: the same blobs, or a refusal that helps."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.microsoft.azure.transfers.s3_to_wasb import S3ToAzureBlobStorageOperator
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.operators import S3ToAzureBlobStreamOperator

_PAGE = Path(__file__).parents[2] / "docs/moving-here.md"
THREE = {"TEST/TEST1.csv": b"1", "TEST/TEST2.csv": b"22", "TEST/TEST3.csv": b"333"}
OLD = b"old"
KEY = {"s3_key": "TEST/TEST1.csv"}
NAMED = KEY | {"blob_name": "n.csv"}
TEST2_THERE = {"TEST/TEST2.csv": OLD}


@dataclass(frozen=True)
class Side:
    """What one operator left: the blobs; and its error, or an empty text."""

    blobs: Mapping[str, bytes] | None
    error: str = ""


@dataclass(frozen=True)
class Case:
    """Arguments, and what is there before."""

    name: str
    arguments: Mapping[str, Any]
    objects: Mapping[str, bytes] = field(default_factory=lambda: THREE)
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    has_container: bool = True
    context: Mapping[str, Any] | None = field(default_factory=dict)


SAME = [
    Case("a key and a blob's name", KEY | {"blob_name": "out/x.csv"}),
    Case("a key and a folder", KEY | {"blob_prefix": "TEST"}),
    Case("a key and a folder, replace", KEY | {"blob_prefix": "arch", "replace": True}),
    Case("a deep key and a folder", {"s3_key": "a/b/c/d.csv", "blob_prefix": "arch/x"}, {"a/b/c/d.csv": b"x"}),
    Case("a key without a folder, and a folder", {"s3_key": "d.csv", "blob_prefix": "arch"}, {"d.csv": b"x"}),
    Case("two prefixes without slashes, replace omitted", {"s3_prefix": "TEST", "blob_prefix": "TEST"}),
    Case("two prefixes without slashes", {"s3_prefix": "TEST", "blob_prefix": "arch", "replace": True}),
    Case("one slash", {"s3_prefix": "TEST", "blob_prefix": "arch/", "replace": True}),
    Case(
        "keys below folders",
        {"s3_prefix": "TEST", "blob_prefix": "arch", "replace": True},
        {"TEST/a/1": b"1", "TEST/b/1": b"2"},
    ),
    Case("a prefix that matches nothing", {"s3_prefix": "NOPE", "blob_prefix": "arch", "replace": True}),
    Case(
        "the blob exists, replace=False",
        KEY | {"blob_name": "TEST/TEST1.csv", "replace": False},
        THREE,
        {"TEST/TEST1.csv": OLD},
    ),
    Case("None where nothing is meant", NAMED | {"s3_prefix": None, "blob_prefix": None, "replace": True}),
    Case("no blob's name", KEY | {"blob_name": None, "blob_prefix": "arch", "replace": True}),
    Case("an empty prefix", NAMED | {"s3_prefix": "", "replace": True}),
    Case("an empty blob's name", KEY | {"blob_name": "", "blob_prefix": "arch", "replace": True}),
    Case("an empty key", {"s3_key": "", "s3_prefix": "TEST", "blob_prefix": "arch", "replace": True}),
    Case("create_container, missing", NAMED | {"create_container": True}, has_container=False),
    Case("create_container, present", NAMED | {"create_container": True}),
    Case("verify", NAMED | {"s3_verify": True}),
    Case("verify=False", NAMED | {"s3_verify": False}),
    Case("verify=None", NAMED | {"s3_verify": None}),
    Case("empty extra arguments", NAMED | {"s3_extra_args": {}, "wasb_extra_args": {}}),
    Case("a region", NAMED | {"s3_extra_args": {"region_name": "eu-west-1"}}),
    Case("extra_args", NAMED | {"s3_extra_args": {"extra_args": {}}}),
    Case("transfer_config_args", NAMED | {"s3_extra_args": {"transfer_config_args": {"use_threads": False}}}),
    Case("config", NAMED | {"s3_extra_args": {"config": Config(s3={"addressing_style": "path"}, read_timeout=20)}}),
    Case("an empty object", {"s3_key": "TEST/e", "blob_name": "e"}, {"TEST/e": b""}),
    Case("no context", NAMED, context=None),
    Case("an empty context and a prefix", {"s3_prefix": "TEST", "blob_prefix": "arch", "replace": True}),
]
"""Both leave the same blobs."""

REFUSED = [
    (Case("a folder with a slash", KEY | {"blob_prefix": "arch/"}), "Pass blob_prefix='arch'"),
    (Case("one object and a blob's name", {"s3_prefix": "TEST", "blob_name": "one"}, {"TEST/1": b"1"}), "needs s3_key"),
    (Case("three objects and a blob's name", {"s3_prefix": "TEST", "blob_name": "one"}), "blob_name needs s3_key"),
    (Case("a blob's name and a folder", NAMED | {"blob_prefix": "arch"}), "Leave out blob_prefix"),
    (Case("a key and a prefix", NAMED | {"s3_prefix": "TEST"}), "ignores s3_prefix"),
    (Case("neither", {"blob_prefix": "arch"}), "not none"),
    (Case("neither, but empty", {"s3_key": "", "s3_prefix": "", "blob_prefix": "arch"}), "not none"),
]
"""Ours is refused when the DAG is parsed, and says what to write."""

OURS_ALONE = [
    (Case("a key alone", KEY), {"TEST/TEST1.csv": b"1"}),
    (Case("a key alone, replace", KEY | {"replace": True}), {"TEST/TEST1.csv": b"1"}),
    (Case("a key, no prefix", KEY | {"blob_prefix": None, "replace": True}), {"TEST/TEST1.csv": b"1"}),
    (
        Case("two prefixes with slashes", {"s3_prefix": "TEST/", "blob_prefix": "arch/", "replace": True}),
        {"arch/TEST1.csv": b"1", "arch/TEST2.csv": b"22", "arch/TEST3.csv": b"333"},
    ),
    (
        Case("no prefix of the blobs", {"s3_prefix": "TEST/", "blob_prefix": None, "replace": True}),
        {"TEST1.csv": b"1", "TEST2.csv": b"22", "TEST3.csv": b"333"},
    ),
    (
        Case("a folder marker", {"s3_prefix": "T", "blob_prefix": "a", "replace": True}, {"T/": b"", "T/1": b"1"}),
        {"a/1": b"1"},
    ),
    (
        Case("some are there", {"s3_prefix": "TEST", "blob_prefix": "TEST", "replace": False}, THREE, TEST2_THERE),
        THREE | TEST2_THERE,
    ),
    (Case("replace", {"s3_prefix": "TEST", "blob_prefix": "TEST", "replace": True}, THREE, TEST2_THERE), THREE),
    (Case("replace a blob", KEY | {"blob_name": "n", "replace": True}, THREE, {"n": OLD}), {"n": b"1"}),
    (Case("keep a blob of another name", KEY | {"blob_name": "n", "replace": False}, THREE, {"n": OLD}), {"n": OLD}),
    (Case("public_read", NAMED | {"wasb_extra_args": {"public_read": False}}), {"n.csv": b"1"}),
]
"""Airflow's operator fails, and ours copies."""

OTHERWISE = [
    (
        Case("replace omitted, the blob exists", KEY | {"blob_name": "TEST/TEST1.csv"}, THREE, {"TEST/TEST1.csv": OLD}),
        {"TEST/TEST1.csv": b"1"},
        "`replace` omitted",
    ),
    (
        Case(
            "another blob has the key's base name",
            KEY | {"blob_prefix": "TEST", "replace": False},
            THREE,
            {"TEST1.csv": OLD},
        ),
        {"TEST1.csv": OLD, "TEST/TEST1.csv": b"1"},
        "a blob of the key's last part at the container's root",
    ),
]
"""Both succeed and leave other blobs: each of these is in the page, under the words beside it."""

BOTH_FAIL = [
    (Case("a missing container", NAMED, has_container=False), "create_container=True"),
    (Case("a missing key", NAMED | {"s3_key": "nope"}), "does not exist in bucket"),
    (
        Case("a missing bucket", NAMED | {"s3_bucket": "no-such-bucket-zz"}),
        "S3 bucket 'no-such-bucket-zz' does not exist",
    ),
    (
        Case("an unknown argument of S3Hook", NAMED | {"s3_extra_args": {"nonsense": 1}}),
        "s3_extra_args: S3Hook does not",
    ),
    (
        Case("an unknown argument of WasbHook", NAMED | {"wasb_extra_args": {"overwrite": 1}}),
        "wasb_extra_args: WasbHook",
    ),
    (Case("a missing wasb connection", NAMED | {"wasb_conn_id": "nope"}), "AIRFLOW_CONN_NOPE"),
]
"""Both fail; ours says why."""


@pytest.fixture(autouse=True)
def _no_task_runner(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Silence what Airflow says of every ``execute`` that no task calls."""
    with caplog.at_level(logging.CRITICAL):
        yield


Try = Callable[[Any, Case], Side]


@pytest.fixture
def left_by(connections: dict[str, Any], s3_client: Any, blob_service: BlobServiceClient) -> Try:
    """Return a function that runs an operator, in a bucket and a container of its own."""

    def run(operator: Any, case: Case) -> Side:
        bucket, name = f"bucket-{uuid4().hex}", f"container-{uuid4().hex}"
        s3_client.create_bucket(Bucket=bucket)
        for key, body in case.objects.items():
            s3_client.put_object(Bucket=bucket, Key=key, Body=body)
        container = blob_service.get_container_client(name)
        if case.has_container:
            container.create_container()
        for blob, body in case.blobs.items():
            container.upload_blob(blob, body)
        places = connections | {"s3_bucket": bucket, "container_name": name}
        error = ""
        # Airflow's operator raises errors of both SDKs and its own; ours only its own.
        expected = TransferError if operator is S3ToAzureBlobStreamOperator else Exception
        try:
            operator(task_id="copy", **(places | dict(case.arguments))).execute(case.context)
        except expected as raised:
            error = f"{type(raised).__name__}: {raised}"
        if not container.exists():
            return Side(None, error)
        blobs = {blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()}
        return Side(blobs, error)

    return run


def _ids(case: Any) -> str | None:
    return case.name if isinstance(case, Case) else ""


@pytest.mark.slow
@pytest.mark.parametrize("case", SAME, ids=_ids)
def test_leaves_the_blobs_that_airflows_operator_leaves(case: Case, left_by: Try) -> None:
    """The same arguments give the same blobs."""
    theirs, ours = left_by(S3ToAzureBlobStorageOperator, case), left_by(S3ToAzureBlobStreamOperator, case)
    assert (theirs.error, ours.error) == ("", "")
    assert ours.blobs == theirs.blobs


@pytest.mark.slow
@pytest.mark.parametrize(("case", "blobs"), OURS_ALONE, ids=_ids)
def test_copies_where_airflows_operator_fails(case: Case, blobs: Mapping[str, bytes], left_by: Try) -> None:
    """Nobody depends on blobs that were never written."""
    assert left_by(S3ToAzureBlobStorageOperator, case).error
    assert left_by(S3ToAzureBlobStreamOperator, case) == Side(blobs)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "blobs", "words"), OTHERWISE, ids=_ids)
def test_every_difference_is_documented(case: Case, blobs: Mapping[str, bytes], words: str, left_by: Try) -> None:
    """A difference that stays is on the page for those who come from Airflow's operator."""
    theirs, ours = left_by(S3ToAzureBlobStorageOperator, case), left_by(S3ToAzureBlobStreamOperator, case)
    assert (theirs.error, ours) == ("", Side(blobs))
    assert theirs.blobs != ours.blobs
    assert words in _PAGE.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("case", "says"), BOTH_FAIL, ids=_ids)
def test_says_why_where_both_fail(case: Case, says: str, left_by: Try) -> None:
    """The error names what is missing, or the argument that is wrong."""
    assert left_by(S3ToAzureBlobStorageOperator, case).error
    assert says in left_by(S3ToAzureBlobStreamOperator, case).error


@pytest.mark.parametrize(("case", "says"), REFUSED, ids=_ids)
def test_refuses_at_parse_what_it_would_do_otherwise(case: Case, says: str) -> None:
    """The refusal says what to write instead."""
    with pytest.raises(UsageError) as refused:
        S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bucket", container_name="container", **case.arguments)
    assert says in str(refused.value)


@pytest.mark.slow
def test_a_missing_aws_default_is_the_workers_own_identity(
    connections: dict[str, Any], left_by: Try, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Airflow's hook does, with a warning; another id that is missing is an error, which the page says."""
    for name, value in (
        ("AWS_ENDPOINT_URL", s3_server.endpoint_url),
        ("AWS_ACCESS_KEY_ID", s3_server.access_key),
        ("AWS_SECRET_ACCESS_KEY", s3_server.secret_key),
        ("AWS_DEFAULT_REGION", s3_server.region),
    ):
        monkeypatch.setenv(name, value)
    case = Case("no connection", NAMED | {"aws_conn_id": "aws_default"})
    theirs, ours = left_by(S3ToAzureBlobStorageOperator, case), left_by(S3ToAzureBlobStreamOperator, case)
    assert ours == theirs == Side({"n.csv": b"1"})
    other = left_by(S3ToAzureBlobStreamOperator, Case("misspelt", NAMED | {"aws_conn_id": "aws_defualt"}))
    assert "AIRFLOW_CONN_AWS_DEFUALT" in other.error
