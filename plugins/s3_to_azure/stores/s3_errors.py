"""S3's and botocore's errors, translated into the engine's; nothing else knows their codes."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import requests
import urllib3
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from s3_to_azure.model import errors
from s3_to_azure.stores.redaction import redact
from s3_to_azure.stores.service_errors import S3, THROTTLES, network_error, seconds_of, unexpected_answer

_CREDENTIALS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "NotSignedUp",
    "AuthorizationHeaderMalformed",
}
READ_PERMISSION: Final = "s3:GetObject and s3:ListBucket on this bucket"


def s3_error(
    status: int,
    code: str,
    *,
    bucket: str,
    key: str | None,
    etag: str = "",
    retry_after: str | None = None,
    permission: str = READ_PERMISSION,
) -> errors.TransferError:
    """Return the engine's error for an S3 answer.

    Args:
        status: HTTP status.
        code: The ``Code`` of S3's error document, or the status where it has none.
        bucket: The bucket asked for.
        key: The key asked for, or None for a request on the bucket.
        etag: The ETag that was required.
        retry_after: The answer's Retry-After header.
        permission: What the request needs, for people.
    """
    thing = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    if code in THROTTLES or status == 429 or (status == 503 and code in ("503", "ServiceUnavailable")):
        return errors.Throttled(service=S3, code=code, retry_after_s=seconds_of(retry_after))
    if status >= 500 or code in ("RequestTimeout", "InternalError"):
        return errors.ServerFailed(service=S3, status=status, code=code, thing=thing)
    if code == "NoSuchBucket" or (status == 404 and key is None):
        return errors.BucketNotFound(bucket=bucket)
    if status == 404:
        return errors.ObjectNotFound(bucket=bucket, key=key)
    if status == 412:
        return errors.SourceChanged(bucket=bucket, key=key, etag=etag)
    if code == "InvalidObjectState":
        return errors.ObjectArchived(bucket=bucket, key=key, code=code)
    if code.startswith("KMS"):
        return errors.KeyManagementDenied(thing=thing, code=code)
    if code == "InvalidRequest" and status == 400 and key is not None:
        return errors.CustomerKeyWanted(thing=thing, code=code)
    if code == "RequestTimeTooSkewed":
        return errors.ClockSkewed(service=S3, thing=thing, code=code)
    if code in _CREDENTIALS or status == 401:
        return errors.CredentialsRefused(service=S3, thing=thing, code=code)
    if status == 403:
        return errors.AccessDenied(service=S3, thing=thing, code=code, permission=permission)
    return unexpected_answer(S3, thing, status, code, check="region and endpoint")


@contextmanager
def s3_errors(*, bucket: str, key: str | None, etag: str = "", permission: str = READ_PERMISSION) -> Iterator[None]:
    """Translate what boto3, requests and urllib3 raise; the original never travels on, since it may hold a secret."""
    thing = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    try:
        yield
    except botocore.ClientError as error:
        answer: Mapping[str, Any] = error.response
        meta = answer.get("ResponseMetadata", {})
        raise s3_error(
            int(meta.get("HTTPStatusCode", 0)),
            str(answer.get("Error", {}).get("Code", "")),
            bucket=bucket,
            key=key,
            etag=etag,
            retry_after=meta.get("HTTPHeaders", {}).get("retry-after"),
            permission=permission,
        ) from None
    except (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.CredentialRetrievalError) as error:
        raise errors.ConnectionMissing(
            service=S3, detail=redact(str(error)), cure="Set the AWS connection's login and password, role or profile."
        ) from None
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        botocore.ConnectionError,
        botocore.HTTPClientError,
        botocore.IncompleteReadError,
        # Bodies are read from http.client itself.
        http.client.HTTPException,
        OSError,
    ) as error:
        raise network_error(S3, thing, error) from None
    except ResponseParserError:
        # No BotoCoreError; its text quotes the whole answer.
        raise network_error(S3, thing, ValueError("the answer is cut short, or not S3's")) from None
    except botocore.BotoCoreError as error:
        raise errors.WrongUse(what=f"S3 cannot be used with this connection: {redact(str(error))}") from None
