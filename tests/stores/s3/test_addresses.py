"""A bucket's URL in each addressing style."""

import boto3
import pytest
from botocore.config import Config

from s3_to_azure.stores.s3.addresses import base_url


@pytest.mark.parametrize(
    ("endpoint", "style", "bucket", "expected"),
    [
        (None, "auto", "b-1", "https://b-1.s3.eu-west-1.amazonaws.com"),
        (None, "auto", "b.1", "https://s3.eu-west-1.amazonaws.com/b.1"),
        (None, "path", "b-1", "https://s3.eu-west-1.amazonaws.com/b-1"),
        ("http://HOST:9000/s3/", "auto", "b-1", "http://host:9000/s3/b-1"),
        ("http://host:9000", "virtual", "b-1", "http://b-1.host:9000"),
    ],
)
def test_base_url(endpoint: str | None, style: str, bucket: str, expected: str) -> None:
    """The host is in lower case, and in the bucket's region."""
    config = Config(s3={"addressing_style": style})
    session = boto3.session.Session("key", "secret", region_name="us-east-2")
    client = session.client("s3", endpoint_url=endpoint, config=config)
    assert base_url(client, bucket, "eu-west-1") == expected
