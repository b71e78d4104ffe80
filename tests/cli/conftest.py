"""The environment of the commands, and a bucket to copy."""

from typing import Any

import pytest

from local_cloud.servers import LocalAzure, LocalS3


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, s3_server: LocalS3, azure_server: LocalAzure) -> None:
    """Set the variables by which the commands find both local servers."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3_server.region)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string)


@pytest.fixture
def filled(s3_client: Any, bucket: str) -> str:
    """Put three objects into the bucket, one of which cannot be copied; return its name."""
    for key, data in (("d/one", b"1"), ("d/two words", b"22"), ("d/../three", b"333")):
        s3_client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumAlgorithm="CRC64NVME")
    return bucket
