"""Metadata, headers, tags and tiers are copied from S3 and read back with Azure's own SDK."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import MetadataTooLarge
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.metadata import metadata_from_azure, tags_from_azure
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.settings import CopySettings, Fidelity
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from tests.fidelity.uploads import some_bytes
from tests.real_stores import azure_container, s3_source

KEY = "a b/ä.txt"
HEADERS = {
    "ContentType": "text/csv; charset=utf-8",
    "ContentEncoding": "gzip",
    "ContentLanguage": "de-DE",
    "ContentDisposition": 'attachment; filename="x.csv"',
    "CacheControl": "max-age=60",
}


@pytest.fixture
def copied(
    s3_server: LocalS3, azure_server: LocalAzure, bucket: str, container: ContainerClient
) -> Iterator[Callable[..., Receipt]]:
    """Return a function that copies the object of the test."""
    source, destination = s3_source(s3_server), azure_container(azure_server, container.container_name)

    def run(**choices: Any) -> Receipt:
        settings = CopySettings(block_bytes=MIB, connections=1, fidelity=Fidelity(**choices))
        with open_context(source, destination, settings) as context:
            return copy_object(context, CopyTask(bucket, KEY, KEY))

    yield run
    source.close()
    destination.close()


@pytest.mark.parametrize("size_bytes", [0, 10, 2 * MIB + 1], ids=["empty", "one request", "blocks"])
class TestEmptyOneRequestAndBlocks:
    """An empty object, one of one request, and one of several blocks."""

    def test_headers_and_metadata(
        self, size_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
    ) -> None:
        """Every content header is copied, the metadata reads back unchanged, and the record of the copy is added."""
        metadata = {"my-key": "plain", "1st": "50% + ~", "a.b": "x", "class": "y", "_x002d_": "z", "empty": ""}
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=some_bytes(size_bytes), Metadata=metadata, **HEADERS)
        head = s3_client.head_object(Bucket=bucket, Key=KEY)
        assert copied().status == "copied"
        blob = container.get_blob_client(KEY).get_blob_properties()
        settings = blob.content_settings
        assert settings.content_type == HEADERS["ContentType"]
        assert settings.content_encoding == HEADERS["ContentEncoding"]
        assert settings.content_language == HEADERS["ContentLanguage"]
        assert settings.content_disposition == HEADERS["ContentDisposition"]
        assert settings.cache_control == HEADERS["CacheControl"]
        record = {name: value for name, value in blob.metadata.items() if name.startswith("s3_")}
        own = {name: value for name, value in blob.metadata.items() if name not in record}
        assert metadata_from_azure(own) == metadata
        assert record["s3_etag"] == head["ETag"].strip('"')
        assert datetime.fromisoformat(record["s3_last_modified"]) == head["LastModified"]

    def test_tags_are_copied_on_request(
        self, size_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
    ) -> None:
        """Tags are copied where requested, even with characters that Azure does not allow, and else not."""
        tags = {"team": "data", "e-mail": "a@b.example", "größe": "+ - = . _ : /", "empty": "", "_x0040_": "x"}
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=some_bytes(size_bytes))
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        s3_client.put_object_tagging(Bucket=bucket, Key=KEY, Tagging={"TagSet": tag_set})
        copied()
        client = container.get_blob_client(KEY)
        assert not client.get_blob_tags()
        client.delete_blob()
        copied(tags=True)
        assert tags_from_azure(client.get_blob_tags()) == tags

    def test_tier_follows_the_storage_class(
        self, size_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
    ) -> None:
        """A mapped storage class gets its tier, and any other the account's default."""
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=some_bytes(size_bytes), StorageClass="STANDARD_IA")
        client = container.get_blob_client(KEY)
        copied(tiers={"ONEZONE_IA": "Cold"})
        assert client.get_blob_properties().blob_tier_inferred
        client.delete_blob()
        copied(tiers={"STANDARD_IA": "Cool"})
        assert client.get_blob_properties().blob_tier == "Cool"


def test_metadata_values_beyond_ascii(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """A value that S3 returns in RFC 2047 encoding is copied as it was given to S3, which encodes it to return it."""
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=b"x", Metadata={"word": "=?UTF-8?B?w7w=?="})
    copied()
    metadata = container.get_blob_client(KEY).get_blob_properties().metadata
    assert unquote(metadata["word"]) == "\u00fc"


class TestOversizedMetadata:
    """Metadata beyond Azure's limit is never cut silently."""

    # Each hyphen takes seven characters in an Azure name.
    METADATA: ClassVar = {"-" * 600: "x", "b" + "-" * 600: "y"}

    @pytest.mark.parametrize("size_bytes", [10, 2 * MIB + 1], ids=["one request", "blocks"])
    def test_object_fails_before_any_byte_is_staged(
        self, size_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
    ) -> None:
        """The object fails with the name of the setting, and no blob or block exists."""
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=some_bytes(size_bytes), Metadata=self.METADATA)
        with pytest.raises(MetadataTooLarge, match="oversized_metadata=drop"):
            copied()
        assert not list(container.list_blobs(include=["uncommittedblobs"]))

    def test_metadata_is_dropped_on_request(
        self, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
    ) -> None:
        """The user's metadata is dropped, the record of the copy is kept, and the receipt says so."""
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=b"x", Metadata=self.METADATA)
        receipt = copied(oversized_metadata="drop")
        assert (receipt.status, receipt.reason) == ("copied", "metadata_dropped")
        metadata = container.get_blob_client(KEY).get_blob_properties().metadata
        assert set(metadata) == {"s3_etag", "s3_last_modified", "s3_checksum", "s3_verified_by", "s3_source"}
