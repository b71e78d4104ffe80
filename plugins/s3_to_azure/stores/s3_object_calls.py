"""What S3 knows of an object beside bytes and headers: tags, its current version, bringing it back from an archive."""

from dataclasses import replace
from typing import Any, Final

from botocore.exceptions import ClientError

from s3_to_azure.stores.s3_errors import s3_errors
from s3_to_azure.stores.s3_options import ReadOptions

_IN_PROGRESS: Final = 'ongoing-request="true"'
_ALREADY: Final = "RestoreAlreadyInProgress"


def restore(client: Any, bucket: str, key: str, options: ReadOptions, *, days: int, tier: str) -> bool:
    """Ask once for an archived object to be restored; False where that was asked for before.

    Args:
        client: boto3's.
        bucket: Where it is.
        key: Its key.
        options: Who pays, which version.
        days: How long the restored copy stays.
        tier: How fast.
    """
    with s3_errors(bucket=bucket, key=key):
        head = client.head_object(Bucket=bucket, Key=key, **options.reading())
    if _IN_PROGRESS in str(head.get("Restore", "")):
        return False
    request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
    if head.get("StorageClass") != "INTELLIGENT_TIERING":
        # Intelligent-Tiering brings an object back for good, and refuses a number of days.
        request["Days"] = days
    with s3_errors(bucket=bucket, key=key, permission="s3:RestoreObject on this bucket"):
        try:
            client.restore_object(Bucket=bucket, Key=key, RestoreRequest=request, **options.version())
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != _ALREADY:
                raise
            return False
    return True


def current_etag(client: Any, bucket: str, key: str, options: ReadOptions) -> str | None:
    """Return the ETag of the key's current version where another one may be read; else, or where it is gone, None."""
    if not options.version_id:
        return None
    with s3_errors(bucket=bucket, key=key):
        try:
            answer = client.head_object(Bucket=bucket, Key=key, **replace(options, version_id=None).reading())
        except ClientError as error:
            # The current version may be a delete marker.
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 405):
                return None
            raise
    return str(answer["ETag"]).strip('"')


def tags(client: Any, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
    """Return an object's tags."""
    with s3_errors(bucket=bucket, key=key, permission="s3:GetObjectTagging on this bucket"):
        answer = client.get_object_tagging(Bucket=bucket, Key=key, **options.version())
    return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}
