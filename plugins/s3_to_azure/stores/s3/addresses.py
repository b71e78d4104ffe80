"""Where a bucket is: its region and its URL."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from s3_to_azure.stores.s3.responses import s3_errors


def look_up_region(client: Any, bucket: str) -> str:
    """Ask for the bucket's region; return the client's own if the store names none."""
    default = client.meta.region_name or "us-east-1"
    with s3_errors(bucket=bucket, key=None):
        try:
            response: Mapping[str, Any] = client.head_bucket(Bucket=bucket)
        except ClientError as error:
            # The response names the region also if the identity may read objects but not inspect the bucket.
            response = error.response
            if response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in (301, 307, 400, 403):
                raise
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or default)


def base_url(client: Any, bucket: str, region: str) -> str:
    """Return the bucket's URL in the client's addressing style, without a slash at its end."""
    endpoint = urlsplit(client.meta.endpoint_url)
    # SigV4 signs the host in lower case, and libcurl sends it as it is written.
    host = endpoint.netloc.lower()
    if host.endswith(".amazonaws.com") and region != client.meta.region_name:
        host = host.replace(str(client.meta.region_name), region)
        if host == "s3.amazonaws.com":
            host = f"s3.{region}.amazonaws.com"
    style = (client.meta.config.s3 or {}).get("addressing_style", "auto")
    # A certificate for *.s3.amazonaws.com does not cover a bucket name with a dot.
    has_own_host = "." not in bucket and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    if style == "virtual" or (style == "auto" and has_own_host):
        return f"{endpoint.scheme}://{bucket}.{host}{endpoint.path.rstrip('/')}"
    return f"{endpoint.scheme}://{host}{endpoint.path.rstrip('/')}/{bucket}"
