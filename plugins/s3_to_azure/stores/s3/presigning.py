"""URLs by which somebody else reads an object for a while: SigV4 in the query, over method, path and host only.

No header but Host is signed, so that one URL serves any range and whoever fetches it needs to send nothing else.
"""

from typing import Final

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from s3_to_azure.model.limits import MAX_SOURCE_URL_CHARACTERS
from s3_to_azure.model.objects import FetchUrl
from s3_to_azure.stores.s3.addresses import BucketAddress
from s3_to_azure.stores.s3.signing import frozen_credentials, is_sigv4

VALID_S: Final = 900
"""How long a URL is valid. It is used at once, and logs of Azure keep it, so it should be valid no longer than needed.
S3 counts from the time of this machine's clock, which all other requests allow to be wrong by this much."""


def fetch_url(address: BucketAddress, url: str) -> FetchUrl | None:
    """Return a URL that reads an object, signed with the credentials of the moment; None if Azure cannot use one.

    Azure cannot where the signature is of another kind than SigV4, as in S3 Express and multi-region access points, and
    where the URL is too long. Where requests are not signed at all, the object's own URL serves.

    Args:
        address: The bucket's.
        url: The object's, percent-encoded once, with at most one query parameter.

    Raises:
        NoCredentialsError: There are none.
        UsageError: The credentials have a control character.
    """
    if address.scheme is None:
        found = FetchUrl(url)
    elif is_sigv4(address.scheme):
        frozen = frozen_credentials(address.credentials)
        request = AWSRequest(method="GET", url=url)
        S3SigV4QueryAuth(frozen, address.service, address.region, expires=VALID_S).add_auth(request)
        found = FetchUrl(str(request.url))
    else:
        return None
    return found if len(found.url) <= MAX_SOURCE_URL_CHARACTERS else None
