"""Presigned URLs that have expired, for a store that checks signatures."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import botocore.auth
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_cloud.servers import LocalS3


def expired_url(server: LocalS3, bucket: str, key: str) -> str:
    """Return a URL that was valid for a minute, an hour ago; all else of it is right."""
    request = AWSRequest(method="GET", url=f"{server.endpoint_url}/{bucket}/{key}")
    auth = S3SigV4QueryAuth(Credentials(server.access_key, server.secret_key), "s3", server.region, expires=60)
    with patch.object(botocore.auth, "get_current_datetime", lambda: datetime.now(UTC) - timedelta(hours=1)):
        auth.add_auth(request)
    return str(request.url)
