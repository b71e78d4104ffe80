"""The operator reads an object by its URL: without a connection to AWS, and without keeping the URL anywhere."""

import logging
import re
from contextlib import nullcontext
from typing import Any

import pytest
from airflow.sdk import DAG
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalS3
from s3_to_azure.airflow.links import SourceLink
from s3_to_azure.model.errors import UrlRefused, UsageError
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from tests.airflow.airflow_runs import link_of
from tests.airflow.test_operators import failure, run_operator
from tests.airflow.test_secrets import whole_database
from tests.fakes.presigned_urls import expired_url

__all__ = ["failure"]

SIGNED = "https://bucket.s3.eu-west-1.amazonaws.com/d/k?AWSAccessKeyId=AKIAEXAMPLE&Signature=5ec4e75ec4e7&Expires=1"


@pytest.fixture
def arguments(
    connections: dict[str, Any], container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return the operator's arguments, with a template for the URL and without a connection to AWS."""
    monkeypatch.delenv("AIRFLOW_CONN_AWS_LOCAL")
    return {
        "wasb_conn_id": connections["wasb_conn_id"],
        "container_name": container.container_name,
        "source_url": "{{ var.value.partner_url }}",
        "retries": 0,
    }


def test_an_object_is_copied_and_its_url_is_kept_nowhere(
    arguments: dict[str, Any],
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither in rendered fields, XComs, links and the serialized DAG, nor in a log at DEBUG."""
    s3_client.put_object(Bucket=bucket, Key="d/k", Body=b"data", ChecksumAlgorithm="CRC64NVME")
    request = {"Bucket": bucket, "Key": "d/k", "ChecksumMode": "ENABLED"}
    url = str(s3_client.generate_presigned_url("get_object", Params=request, ExpiresIn=600))
    monkeypatch.setenv("AIRFLOW_VAR_PARTNER_URL", url)
    signature = url.rpartition("=")[2]
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        ran = run_operator(arguments, blob_prefix="to")
        changed = url.replace("X-Amz-Expires=600", "X-Amz-Expires=601")
        monkeypatch.setenv("AIRFLOW_VAR_PARTNER_URL", changed)
        assert run_operator(arguments).state == "failed"
    receipt = ran.only("copy").xcom
    assert (receipt["status"], receipt["verified_by"]) == ("copied", "crc64nvme")
    assert (receipt["bucket"], receipt["key"], receipt["blob"]) == (bucket, "d/k", "to/k")
    assert container.download_blob("to/k").readall() == b"data"
    assert link_of(ran, "copy", SourceLink()) == ""
    logged = "\n".join(record.getMessage() for record in caplog.records) + "".join(capfd.readouterr())
    database = whole_database()
    assert ran.run_id in database
    for text in (database, logged):
        assert signature not in text
        assert not re.search(r"X-Amz-(?:Signature|Credential)=(?!\*\*\*)", text)


def test_an_expired_url_is_not_retried(
    arguments: dict[str, Any], s3_server: LocalS3, bucket: str, failure: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says to give a new URL; the variable is read again when the task is cleared."""
    monkeypatch.setenv("AIRFLOW_VAR_PARTNER_URL", expired_url(s3_server, bucket, "d/k"))
    ran = run_operator(arguments | {"retries": 3})
    assert (ran.only("copy").state, ran.only("copy").try_number) == ("failed", 1)
    assert isinstance(failure[0], UrlRefused)
    assert "The URL has expired" in str(failure[0])


def test_a_rendered_text_that_is_no_url_is_refused(
    arguments: dict[str, Any], failure: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the argument, and does not show it."""
    monkeypatch.setenv("AIRFLOW_VAR_PARTNER_URL", "not a url but secret")
    assert run_operator(arguments).state == "failed"
    assert str(failure[0]).startswith("source_url is not a URL")
    assert "secret" not in str(failure[0])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"source_url": SIGNED, "s3_bucket": "bucket"}, "leave out s3_bucket"),
        ({"source_url": SIGNED, "s3_key": "k", "s3_prefix": "p"}, "leave out s3_key, s3_prefix"),
        ({"source_url": SIGNED, "batch": {"index": 1}}, "leave out batch"),
        ({"source_url": SIGNED, "s3_extra_args": {"region_name": "x"}}, "leave out s3_extra_args"),
        ({"source_url": SIGNED, "blob_prefix": "p/"}, "ends in a slash"),
        ({"source_url": SIGNED, "blob_prefix": "p", "blob_name": "b"}, "blob_name cannot be combined"),
        ({"source_url": SIGNED.partition("&")[0]}, "copy: source_url is cut off: signature, expires is missing"),
        ({"source_url": [SIGNED]}, "source_url must be a text"),
        ({"source_url": ""}, "source_url is not a URL"),
        ({"s3_key": "k"}, "s3_bucket=None is not a text. Pass the bucket, or source_url"),
    ],
)
def test_usage_errors_show_when_the_dag_is_parsed(wrong: dict[str, Any], says: str) -> None:
    """Each names the arguments, and none shows the URL."""
    with pytest.raises(UsageError) as raised:
        S3ToAzureBlobStreamOperator(**({"task_id": "copy", "container_name": "container"} | wrong))
    assert says in str(raised.value)
    assert "5ec4e7" not in str(raised.value)


def test_the_output_of_a_task_is_refused() -> None:
    """It would be an XCom, which everybody can read who sees the DAG."""
    with DAG("url-of-a-task", schedule=None):
        first = S3ToAzureBlobStreamOperator(task_id="first", container_name="container", source_url=SIGNED)
        with pytest.raises(UsageError, match="kept in XCom"):
            S3ToAzureBlobStreamOperator(task_id="copy", container_name="container", source_url=first.output)  # type: ignore[arg-type]


def test_s3_verify_false_takes_a_url_without_tls() -> None:
    """As a store in a company's own network has."""
    for verify, is_taken in ((None, False), (False, True)):
        given = {"source_url": "http://10.0.0.7/bucket/k", "s3_verify": verify}
        with nullcontext() if is_taken else pytest.raises(UsageError, match="begins with http"):
            S3ToAzureBlobStreamOperator(task_id="copy", container_name="container", **given)  # type: ignore[arg-type]


def test_a_url_is_no_template_field() -> None:
    """Airflow keeps those, rendered and not."""
    assert "source_url" not in S3ToAzureBlobStreamOperator.template_fields
