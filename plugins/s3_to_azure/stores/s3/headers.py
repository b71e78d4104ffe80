"""The headers of S3's responses: each value is valid or absent, and an absent one is never a default."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from botocore.utils import parse_timestamp

from s3_to_azure.model.errors import S3, UnexpectedResponse
from s3_to_azure.stores.http.headers import ContentRange, content_range, http_date

EMPTY_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"
"""The ETag of most empty objects."""

RAW_HEADERS: Final = "S3ToAzureHeaders"
"""The response field with all headers of a HEAD, after ``keep_raw_headers``."""

# An ETag goes into request headers between quotes: visible ASCII without a quote. If-Match accepts no weak one.
ETAG: Final = re.compile(r"(?!W/)[!#-~]{1,256}")
_DIGITS: Final = re.compile(r"[0-9]{1,19}")
# Some stores answer with the date of their listings.
_ISO_DATE: Final = re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|[+-][0-9:]{4,5})?")
# Those that botocore converts, and fails at if a value is odd.
_CONVERTED: Final = {
    "content-length",
    "expires",
    "last-modified",
    "x-amz-missing-meta",
    "x-amz-mp-parts-count",
    "x-amz-object-lock-retain-until-date",
    "x-amz-tagging-count",
}
_MAX_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """Reads headers strictly.

    Attributes:
        resource: What was requested, for errors.
        values: The headers by lower-case name.
    """

    resource: str
    values: Mapping[str, str]

    def etag(self) -> str:
        """Return the ETag without quotes.

        Raises:
            UnexpectedResponse: It is absent, empty, weak, or not valid.
        """
        text = self.values.get("etag", "")
        etag = text.strip('"')
        if not ETAG.fullmatch(etag):
            raise self.error("ETag")
        return etag

    def content_length(self) -> int | None:
        """Return the length of the body, or None if the response does not give it."""
        return self.count("Content-Length")

    def count(self, name: str) -> int | None:
        """Return a header that is a number, or None if it is absent.

        Raises:
            UnexpectedResponse: It is not a number.
        """
        text = self.values.get(name.lower())
        if text is None:
            return None
        if not _DIGITS.fullmatch(text):
            raise self.error(name)
        return int(text)

    def content_range(self) -> ContentRange | None:
        """Return the range of the body, or None if the response gives none.

        Raises:
            UnexpectedResponse: It is not a range of bytes.
        """
        text = self.values.get("content-range")
        if text is None:
            return None
        found = content_range(text)
        if found is None:
            raise self.error("Content-Range")
        return found

    def last_modified(self) -> datetime | None:
        """Return when the object was last modified, or None if the response does not give it.

        Raises:
            UnexpectedResponse: It is not a date.
        """
        text = self.values.get("last-modified")
        if text is None:
            return None
        time = _time(text)
        if time is None:
            raise self.error("Last-Modified")
        return time

    def error(self, name: str) -> UnexpectedResponse:
        """Return the error that a header is absent or not valid."""
        text = self.values.get(name.lower())
        shown = "has no" if text is None else f"has an unusable value ({text[:_MAX_SHOWN_CHARACTERS]!r}) as"
        return UnexpectedResponse(service=S3, resource=self.resource, detail=f"the response {shown} {name}")

    def changed_encoding(self) -> str:
        """Return how the response shows that its body may be compressed or decompressed on the way; else nothing."""
        stored = self.values.get("x-goog-stored-content-encoding", "identity")
        sent = self.values.get("content-encoding", "identity")
        if stored not in ("identity", sent):
            return f"the store decompressed what it holds as {stored}, although identity was asked for"
        if sent != "identity" or self.values.get("warning", "").startswith("214"):
            return (
                f"the response has Content-Encoding {sent}: if the object is not stored so, a gateway compresses or "
                "decompresses responses, although identity was asked for; switch that off for this endpoint"
            )
        return ""

    def refuse_decompressed(self) -> None:
        """Raise if the store says that it sends other bytes than it holds.

        Raises:
            UnexpectedResponse: It does.
        """
        stored = self.values.get("x-goog-stored-content-encoding", "identity")
        if stored not in ("identity", self.values.get("content-encoding", "identity")):
            raise UnexpectedResponse(service=S3, resource=self.resource, detail=self.changed_encoding())


def keep_raw_headers(client: Any) -> None:
    """Make the client's ``head_object`` return all headers as they came, and convert none that can be odd."""
    client.meta.events.register_first("before-parse.*.HeadObject", _keep, unique_id=RAW_HEADERS)


def _keep(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    headers = response_dict["headers"]
    customized_response_dict[RAW_HEADERS] = list(headers.items())
    for name in [name for name in headers if name.lower() in _CONVERTED]:
        del headers[name]


def _time(text: str) -> datetime | None:
    if not _ISO_DATE.fullmatch(text):
        return http_date(text)
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        return None


def parse_time(text: str) -> datetime:
    """Parse a timestamp of a document, into UTC: S3's own format fast, all others with botocore.

    Raises:
        ValueError: The text is not a timestamp, or UTC has none for it: its zone leads beyond the years 1 to 9999.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        try:
            time = parse_timestamp(text)
        except RuntimeError:
            # A number of seconds that no date can express.
            raise ValueError(f"{text!r} is not a timestamp") from None
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the times of UTC") from None
