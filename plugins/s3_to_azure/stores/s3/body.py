"""The body of a GET, whose bytes are counted where the response has no length."""

import http.client

from s3_to_azure.model.errors import S3, UnexpectedResponse
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.stores.s3.errors import s3_errors
from s3_to_azure.stores.s3.headers import ResponseHeaders


class S3Body:
    """The open body of a GET whose headers have been checked.

    Args:
        body: The response.
        version: The version that its headers describe.
        headers: The response's headers.
        expected_bytes: The length of the requested range, which a response without a length must have too.
    """

    def __init__(
        self, body: http.client.HTTPResponse, version: ObjectVersion, headers: ResponseHeaders, expected_bytes: int
    ) -> None:
        self.version = version
        self._body = body
        self._headers = headers
        # With a length the HTTP client counts, and returns no byte more. It counts none of a body in chunks, whose
        # length is what it would be without them, or what it was before a gateway changed it.
        self._uncounted = headers.content_length() is None or "transfer-encoding" in headers.values
        self._left = expected_bytes

    def readinto(self, view: memoryview) -> int:
        """Fill the front of ``view``; return the number of bytes, 0 at the end of the body.

        Raises:
            UnexpectedResponse: The body has more bytes than were requested, or was compressed on its way.
        """
        with s3_errors(bucket=self.version.bucket, key=self.version.key):
            count = self._body.readinto(view)
            if self._uncounted:
                self._left -= count
                self._check_end(is_end=len(view) > 0 and not count)
        return count

    def _check_end(self, *, is_end: bool) -> None:
        changed = self._headers.changed_encoding()
        if is_end and self._left and changed:
            detail = f"the body ended {self._left} bytes early; {changed}"
        elif self._left < 0 or (not self._left and not is_end and self._body.read(1)):
            detail = "the body has more bytes than were requested" + (f"; {changed}" if changed else "")
        else:
            return
        raise UnexpectedResponse(service=S3, resource=self._headers.resource, detail=detail)
