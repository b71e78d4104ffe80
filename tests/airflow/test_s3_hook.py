"""The S3 store from an Airflow connection: ways to sign in, settings, and errors."""

import base64
from collections.abc import Callable
from pathlib import Path

import certifi
import pytest
from botocore import UNSIGNED

from local_cloud.servers import LocalS3
from s3_to_azure.airflow.s3_hook import s3_source
from s3_to_azure.model.errors import ConnectionMissing, CredentialsRefused, UsageError
from s3_to_azure.stores.s3.options import ReadOptions
from tests.certificates import certified


def test_missing_aws_connection() -> None:
    """The error names the missing connection and what to do; the worker's own identity is not used instead."""
    with pytest.raises(ConnectionMissing, match=r"'not_there' does not exist\. Create it with type aws"):
        s3_source("not_there", connections=2)


def test_s3_wrong_secret(set_connection: Callable[..., str], rclone_server: LocalS3) -> None:
    """A wrong secret is reported as such; rclone's server checks signatures."""
    conn_id = set_connection(
        "aws",
        login=rclone_server.access_key,
        password="wrong-secret",
        extra={"endpoint_url": rclone_server.endpoint_url, "config_kwargs": {"s3": {"addressing_style": "path"}}},
    )
    with pytest.raises(CredentialsRefused):
        s3_source(conn_id, connections=2).head("any-bucket", "any-key")


def test_s3_settings(set_connection: Callable[..., str], bundle: Path) -> None:
    """The connection's botocore settings stay, but SigV4 signs and the SDK never retries."""
    conn_id = set_connection(
        "aws",
        login="a",
        password="b",
        extra={
            "region_name": "eu-central-1",
            "verify": str(bundle),
            "config_kwargs": {
                "signature_version": "s3",
                "retries": {"max_attempts": 10},
                "proxies": {"https": "http://proxy:1"},
                "s3": {"addressing_style": "virtual"},
            },
        },
    )
    source = s3_source(conn_id, connections=3)
    meta = source._client.meta
    assert meta.config.signature_version != "s3"
    assert meta.config.retries["total_max_attempts"] == 1
    assert meta.config.s3["addressing_style"] == "virtual"
    assert meta.region_name == "eu-central-1"
    settings = source.http_connections.settings
    assert (settings.verify, settings.proxies.for_url("https://host/")) == (str(bundle), "http://proxy:1")


def test_s3_public_bucket(set_connection: Callable[..., str]) -> None:
    """A connection with unsigned requests is not signed."""
    conn_id = set_connection("aws", extra={"config_kwargs": {"signature_version": "unsigned"}})
    assert s3_source(conn_id, connections=3)._client.meta.config.signature_version is UNSIGNED


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a CA bundle."""
    return certified(tmp_path / "bundle.pem")


@pytest.mark.parametrize(("verify", "expected"), [(None, True), (False, False), (certifi.where(), certifi.where())])
def test_tls_is_verified(
    verify: bool | str | None, expected: bool | str, set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates are verified unless ``verify`` is False."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    conn_id = set_connection("aws", login="a", password="b")
    assert s3_source(conn_id, connections=3, verify=verify).http_connections.settings.verify == expected


def test_arguments_of_the_hooks_own_transfers(set_connection: Callable[..., str]) -> None:
    """Requester-pays and customer key apply to our reads; unknown arguments are refused, not ignored."""
    key = base64.b64encode(b"k" * 32).decode()
    conn_id = set_connection("aws", login="a", password="b", extra={"sse_customer_key": key})
    source = s3_source(conn_id, connections=3, hook_arguments={"requester_pays": True})
    assert source._options == ReadOptions(requester_pays=True, customer_key=b"k" * 32)
    with pytest.raises(UsageError, match="ACL"):
        s3_source(conn_id, connections=3, hook_arguments={"extra_args": {"ACL": "private"}})


def test_without_a_connection_the_workers_own_identity_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """``aws_conn_id=None`` uses boto3's credential chain."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    source = s3_source(None, connections=1)
    assert source._addresses._credentials.access_key == "worker"
    assert source._client.meta.region_name == "us-east-1"


def test_ca_bundle_of_the_environment(
    set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    """AWS's own variable names the bundle, unless the connection says otherwise."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    assert s3_source(set_connection("aws"), connections=1).http_connections.settings.verify == str(bundle)
    assert (
        s3_source(set_connection("aws", extra={"verify": False}), connections=1).http_connections.settings.verify
        is False
    )
