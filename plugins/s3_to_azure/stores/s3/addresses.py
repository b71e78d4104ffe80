"""How the objects of a bucket are requested: URL, region and signature, all as boto3 would choose them."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.exceptions import ClientError

from s3_to_azure.stores.s3.errors import s3_errors
from s3_to_azure.stores.s3.signing import Signer, is_sigv4, presigned_query_characters, signer_for

_KEY: Final = "k"
_ARN: Final = "arn:"
_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# How S3 answers a HEAD that was signed for another region, or that the identity may not send.
_WITHOUT_REGION: Final = (301, 307, 400)
_FORBIDDEN: Final = 403
# Errors of a listing that show the region that was asked for to be right.
_DENIED: Final = ("AccessDenied", "AllAccessDisabled", "Forbidden")


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """How objects of one bucket are requested.

    Attributes:
        base_url: The bucket's URL, without a slash at its end.
        region: The region that the signature is made for.
        scheme: botocore's name of the signature; None: requests are not signed.
        service: The service's name in the signature.
        credentials: botocore's credentials, which may be refreshable.
    """

    base_url: str
    region: str
    scheme: str | None
    service: str
    credentials: Any

    def signer(self) -> Signer | None:
        """Return what signs requests, or None if they are not signed."""
        if self.scheme is None:
            return None
        return signer_for(self.scheme, self.credentials, region=self.region, service=self.service)

    @property
    def can_presign(self) -> bool:
        """Whether anybody may read an object by its URL: presigned with SigV4, or as it is if nothing is signed."""
        return self.scheme is None or is_sigv4(self.scheme)

    def query_characters(self) -> int:
        """Return the length of a presigned URL's query with the credentials of the moment; 0 if nothing is signed.

        Raises:
            NoCredentialsError: There are none.
        """
        if self.scheme is None:
            return 0
        return presigned_query_characters(self.credentials, region=self.region, service=self.service)


class Addresses:
    """The addresses of the buckets that one boto3 client can read.

    Every setting that changes where boto3 sends a request, or how it signs it, applies to our own requests too, because
    boto3 itself is asked: it prepares a GET, which is never sent.

    Args:
        client: A boto3 client, which never sends GetObject.
        credentials: The session's credentials; None if it has none.
    """

    def __init__(self, client: Any, credentials: Any) -> None:
        self._client = client
        self._credentials = credentials
        self._regions: dict[str, str | None] = {}
        self._found: dict[str, BucketAddress] = {}
        self._lock = threading.Lock()
        events = client.meta.events
        # Handlers of one operation would be called before botocore's own for all of them.
        events.register_last("before-sign.s3", _stop_get_object)
        events.register_last("before-endpoint-resolution.s3", self._use_region)
        events.register_last("before-parameter-build.s3", _do_not_redirect)

    def of(self, bucket: str, *, payer: Mapping[str, Any]) -> BucketAddress:
        """Return a bucket's address; only the first call sends a request, which looks up the bucket's region.

        Args:
            bucket: The bucket, or an access point's ARN.
            payer: boto3's arguments of a request that concerns no object.
        """
        with self._lock:
            found = self._found.get(bucket)
            if found is None:
                if bucket not in self._regions:
                    self._regions[bucket] = self._look_up_region(bucket, payer)
                found = self._found[bucket] = self._as_boto3_sends(bucket)
        return found

    def forget(self, bucket: str) -> None:
        """Look the bucket up again before its next request."""
        with self._lock:
            self._regions.pop(bucket, None)
            self._found.pop(bucket, None)

    def _look_up_region(self, bucket: str, payer: Mapping[str, Any]) -> str | None:
        """Return the bucket's region; None if the store names none, or the client knows it better."""
        if bucket.startswith(_ARN):
            # An ARN names its region, and access points need not answer requests about buckets.
            return None
        with s3_errors(bucket=bucket, key=None):
            try:
                response: Mapping[str, Any] = self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                # The response names the region also if the identity may read objects but not inspect the bucket.
                response = error.response
                status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status not in (*_WITHOUT_REGION, _FORBIDDEN):
                    raise
                if status in _WITHOUT_REGION and _region_header(response) is None:
                    self._learn_region(bucket, payer)
        return _region_header(response)

    def _learn_region(self, bucket: str, payer: Mapping[str, Any]) -> None:
        """Let boto3 find the region by a listing: other than a HEAD response, an error document can name it."""
        try:
            self._client.list_objects_v2(Bucket=bucket, MaxKeys=1, **payer)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _DENIED:
                raise

    def _use_region(self, params: Mapping[str, Any], builtins: dict[str, Any], **_: Any) -> None:
        """Make every request of the client for the bucket's own region: S3 accepts no signature for another one."""
        region = self._regions.get(params.get("Bucket", ""))
        if region is not None:
            builtins["AWS::Region"] = region

    def _as_boto3_sends(self, bucket: str) -> BucketAddress:
        with s3_errors(bucket=bucket, key=None):
            try:
                self._client.get_object(Bucket=bucket, Key=_KEY)
            except _Prepared as prepared:
                return prepared.address(self._credentials)
        raise AssertionError("the request was not stopped")


class _Prepared(Exception):
    """boto3 has prepared a request, and would sign it now."""

    def __init__(self, request: Any, region: str, scheme: Any, service: str) -> None:
        super().__init__()
        self._request = request
        self._region = region
        self._scheme = scheme
        self._service = service

    def address(self, credentials: Any) -> BucketAddress:
        """Return the bucket's address."""
        signing = self._request.context.get("signing", {})
        scheme = None if self._scheme is UNSIGNED else str(self._scheme)
        if signing.get("identity_cache") is not None:
            # The session of a directory bucket, which boto3 keeps and renews.
            credentials = signing["identity_cache"].get_credentials(signing["cache_key"])
        url = urlsplit(str(self._request.url))
        return BucketAddress(
            # SigV4 signs the host in lower case.
            base_url=f"{url.scheme}://{url.netloc.lower()}{url.path.removesuffix(f'/{_KEY}')}",
            region=signing.get("region") or self._region,
            scheme=scheme,
            service=signing.get("signing_name") or self._service,
            credentials=credentials,
        )


def _stop_get_object(
    request: Any, signing_name: str, region_name: str, signature_version: Any, operation_name: str, **_: Any
) -> None:
    if operation_name == "GetObject":
        raise _Prepared(request, region_name, signature_version, signing_name)


def _do_not_redirect(context: dict[str, Any], model: Any, **_: Any) -> None:
    """Keep botocore from following a HEAD of a bucket: without a region in the response it would recurse for ever."""
    if model.name == "HeadBucket":
        context["s3_redirect"]["redirected"] = True


def _region_header(response: Mapping[str, Any]) -> str | None:
    region = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(region) if region and _REGION.fullmatch(str(region)) else None
