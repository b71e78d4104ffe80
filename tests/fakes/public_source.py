"""S3 at a local server that is taken for a public one, so that objects in it count as such that Azure can fetch."""

from dataclasses import replace
from typing import Any

from s3_to_azure.model.objects import FetchAccess, FetchUrl, ObjectVersion
from s3_to_azure.stores.s3.source import S3Source


class PublicSource(S3Source):
    """Says that its endpoint is a public one; what it presigns is of the local server.

    Attributes:
        urls: Every URL that was made.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.urls: list[str] = []

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Return the bucket's access, with a public URL."""
        return replace(super().fetch_access(bucket), base_url=f"https://{bucket}.s3.us-east-1.amazonaws.com")

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        """Note the URL."""
        found = super().fetch_url(version)
        if found is not None:
            self.urls.append(found.url)
        return found
