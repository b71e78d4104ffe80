"""The parts of a presigned URL: which object it names, until when it is valid, and which headers it signs.

The query is the credential. It is sent and never shown: ``PresignedUrl.shown`` is the URL without it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from s3_to_azure.model.errors import NameRefused, UsageError
from s3_to_azure.model.names import check_bucket, check_key
from s3_to_azure.model.uris import S3Uri, is_local_host

_SCHEMES: Final = ("https://", "http://")
# What RFC 3986 allows in a URL; a square bracket is only in a host that is an IPv6 address.
_ALLOWED: Final = re.compile(r"[A-Za-z0-9\-._~:/?@!$&'()*+,;=%\[\]]+")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_QUOTES: Final = ('"', "'", "`", "<", ">", "(", "[")
# A key that looks like a query would be shown.
_QUERY_IN_PATH: Final = re.compile(r"(?i)[?&](?:x-amz-|x-goog-|signature=|awsaccesskeyid=|key-pair-id=)")

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
# https://cloud.google.com/storage/docs/authentication/signatures
_V4: Final = ("algorithm", "credential", "date", "expires", "signedheaders", "signature")
_AWS: Final = "x-amz-"
_V4_PREFIXES: Final = (_AWS, "x-goog-")
_V4_DATE: Final = "%Y%m%dT%H%M%SZ"
# https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html#RESTAuthenticationQueryStringAuth
_V2: Final = ("signature", "expires")
_V2_KEYS: Final = ("awsaccesskeyid", "googleaccessid")
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html
_CLOUDFRONT: Final = ("signature", "key-pair-id")
_POLICY: Final = "policy"
_EXPIRES: Final = "expires"
# The AWS SDK for JavaScript writes the operation that it has signed.
_OPERATION: Final = "x-id"
_GET: Final = "GetObject"
_VERSION: Final = "versionid"
CHECKSUM_MODE: Final = "x-amz-checksum-mode"
# A signed header must be sent with the value that was signed, and these have one value only.
_KNOWN_HEADERS: Final[Mapping[str, str]] = {CHECKSUM_MODE: "ENABLED", "x-amz-request-payer": "requester"}
_HOST: Final = "host"
_MAX_SECONDS: Final = 10**9

# The host of S3, and of most stores like it, has a label of its own between the bucket and the region.
_S3_LABEL: Final = re.compile(r"s3|s3-(?!accesspoint|object-lambda|outposts|website)[a-z0-9-]+|s3express-[a-z0-9-]+")
# The labels below these hosts that are not the bucket's.
_STORES: Final[Mapping[str, int]] = {
    "digitaloceanspaces.com": 1,
    "linodeobjects.com": 1,
    "r2.cloudflarestorage.com": 1,
    "storage.googleapis.com": 0,
}


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """An object's URL that carries its own credential, or none.

    Attributes:
        bucket: The object's bucket. Where the URL does not tell it, scheme and host, which no bucket is named.
        key: The object's key, or the whole path where the URL does not tell the bucket.
        url: The URL as it is sent; a secret.
        expires_at: When it expires; None if it does not tell.
        headers: The headers that it signs besides Host, and that every request must therefore carry.
        version_id: The version that it names, if any.
        is_signed: Whether it carries a signature.
        asks_for_checksums: Whether its query asks for the object's checksums.
        is_s3: Whether S3, or a store like it, answers: by the host or by the kind of signature.
    """

    bucket: str
    key: str
    url: str = field(repr=False)
    expires_at: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    version_id: str | None = None
    is_signed: bool = True
    asks_for_checksums: bool = False
    is_s3: bool = True

    @property
    def shown(self) -> str:
        """The URL without its query, for errors and logs."""
        return self.url.partition("?")[0]

    @property
    def host(self) -> str:
        """Scheme, host and port."""
        return "/".join(self.url.split("/", 3)[:3])

    def is_expired(self, now: datetime) -> bool:
        """Return whether it has expired by this clock."""
        return self.expires_at is not None and self.expires_at <= now


def is_url(text: str) -> bool:
    """Return whether the text is a URL, be it valid or not, rather than an address of another kind."""
    return text.strip(" \t\r\n\"'<>`").lower().startswith(_SCHEMES)


def parse_url(text: str, *, name: str, without_tls: bool = False) -> PresignedUrl:
    """Read the URL of one object.

    Args:
        text: The URL, presigned or public.
        name: What it is, for errors, which never show its query.
        without_tls: Accept http:// for any host.

    Raises:
        UsageError: It is cut off or changed, names no object, signs something else than a plain GET, or has no TLS.
    """
    parts = _split(text, name, without_tls=without_tls)
    query = _query(parts, name)
    prefix = next((prefix for prefix in _V4_PREFIXES if any(f"{prefix}{part}" in query for part in _V4)), None)
    is_signed = True
    expires_at: datetime | None = None
    if prefix is not None:
        _require(query, [f"{prefix}{part}" for part in _V4], name)
        expires_at = _v4_expiry(query, prefix, name)
    elif any(part in query for part in _V2_KEYS):
        _require(query, _V2, name)
        expires_at = _epoch(query[_EXPIRES], name)
    elif any(part in query for part in (*_CLOUDFRONT, _POLICY, _EXPIRES)):
        _require(query, _CLOUDFRONT if _POLICY in query else (*_CLOUDFRONT, _EXPIRES), name)
        expires_at = _epoch(query[_EXPIRES], name) if _EXPIRES in query else None
    else:
        is_signed = False
    operation = query.get(_OPERATION, _GET)
    if operation != _GET:
        raise UsageError(
            detail=f"{name} is signed for {operation[:40]}, not for reading: ask for a URL that is presigned for "
            f"{_GET}."
        )
    bucket, key = _identity(parts, name)
    return PresignedUrl(
        bucket,
        _checked(key, name),
        text,
        expires_at=expires_at,
        headers=_signed_headers(query.get(f"{prefix}signedheaders", _HOST), name),
        version_id=query.get(_VERSION),
        is_signed=is_signed,
        asks_for_checksums=CHECKSUM_MODE in query,
        is_s3="://" not in bucket or prefix == _AWS or _V2_KEYS[0] in query,
    )


def parse_url_prefix(text: str, *, name: str, without_tls: bool = False) -> S3Uri:
    """Read the URL of a prefix, which ends in a slash and has no query: URLs of a list lie below it.

    Args:
        text: The URL.
        name: What it is, for errors.
        without_tls: As for ``parse_url``.

    Raises:
        UsageError: It is something else.
    """
    parts = _split(text, name, without_tls=without_tls)
    if parts.query or not parts.path.endswith("/"):
        raise UsageError(
            detail=f"{name} must be what all listed URLs begin with: https://host/prefix/ with a slash at its end and "
            "without a query, or s3://bucket/prefix/."
        )
    bucket, key = _identity(parts, name)
    return S3Uri(bucket, key)


def _split(text: str, name: str, *, without_tls: bool) -> SplitResult:
    """Return the parts of a URL that is sent as it is written: urlsplit and HTTP clients drop or change some texts."""
    if text[:1] in _QUOTES or text[-1:] in _QUOTES or text != text.strip():
        raise UsageError(detail=f"{name} begins or ends with a quotation mark, a bracket or a space: remove it.")
    if "\\" in text:
        raise UsageError(
            detail=f"{name} has a backslash, as shells and JSON write before '&' and '/': remove all of them."
        )
    if "#" in text:
        raise UsageError(detail=f"{name} has a fragment. Write %23 for '#' in a key.")
    if not text.startswith(_SCHEMES) or not _ALLOWED.fullmatch(text) or _BROKEN_ESCAPE.search(text):
        raise UsageError(
            detail=f"{name} is not a URL: it begins with https://, and has no character that must be percent-encoded, "
            "such as a space or a quotation mark."
        )
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or "@" in parts.netloc or "%" in parts.netloc:
        raise UsageError(detail=f"{name} has no usable host: write https://host/key, without user name and password.")
    if parts.scheme == "http" and not without_tls and not is_local_host(host):
        raise UsageError(
            detail=f"{name} begins with http://, and without TLS anybody between here and {host} can read it: write "
            "https://. This machine, and a host by a name without a dot, may do without; any host with "
            "--no-verify-tls, or s3_verify=False."
        )
    return parts


def _query(parts: SplitResult, name: str) -> dict[str, str]:
    """Return the parameters by lower-case name.

    Raises:
        UsageError: They are written in a way in which no service reads them, or one is given twice.
    """
    if "&amp;" in parts.query:
        raise UsageError(detail=f"{name} has &amp; instead of &, as in the source of a page or a mail: replace each.")
    found: dict[str, str] = {}
    for item, value in parse_qsl(parts.query, keep_blank_values=True):
        lower = item.lower()
        if "=" in item:
            raise _encoded_twice(name)
        if lower in found:
            raise UsageError(detail=f"{name} has the parameter {item[:40]!r} twice: it was changed. Copy it again.")
        found[lower] = value
    return found


def _encoded_twice(name: str) -> UsageError:
    return UsageError(detail=f"{name} is percent-encoded as a whole: decode it once, so that it has '?', '&' and '='.")


def _require(query: Mapping[str, str], names: "list[str] | tuple[str, ...]", name: str) -> None:
    missing = [item for item in names if not query.get(item)]
    if missing:
        raise UsageError(
            detail=f"{name} is cut off: {', '.join(missing)} is missing. In a shell, put the URL in single quotes, "
            "because '&' ends a command; otherwise copy it whole."
        )


def _v4_expiry(query: Mapping[str, str], prefix: str, name: str) -> datetime:
    seconds = _seconds(query[f"{prefix}expires"], f"{prefix}expires", name)
    try:
        signed_at = datetime.strptime(query[f"{prefix}date"], _V4_DATE).replace(tzinfo=UTC)
        return signed_at + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise UsageError(detail=f"{name} was changed: {prefix}date is not a time. Copy it again.") from None


def _epoch(text: str, name: str) -> datetime:
    seconds = _seconds(text, _EXPIRES, name, at_most=100 * _MAX_SECONDS)
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


def _seconds(text: str, parameter: str, name: str, *, at_most: int = _MAX_SECONDS) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) > at_most:
        raise UsageError(detail=f"{name} was changed: {parameter} is not a number of seconds. Copy it again.")
    return int(text)


def _signed_headers(text: str, name: str) -> dict[str, str]:
    """Return the signed headers besides Host, with the values that they must have.

    Raises:
        UsageError: The URL signs a header whose value it does not tell.
    """
    found: dict[str, str] = {}
    for header in text.lower().split(";"):
        if header in _KNOWN_HEADERS:
            found[header] = _KNOWN_HEADERS[header]
        elif header != _HOST:
            raise UsageError(
                detail=f"{name} signs the header {header[:60]!r}, whose value it does not tell: ask for a URL that "
                "signs the header host alone, or host and x-amz-checksum-mode."
            )
    return found


def _identity(parts: SplitResult, name: str) -> tuple[str, str]:
    """Return bucket and key; scheme and host instead of the bucket, and the whole path, where the URL tells neither.

    Raises:
        UsageError: The path is not UTF-8.
    """
    if _QUERY_IN_PATH.search(unquote(unquote(parts.path))):
        raise _encoded_twice(name)
    try:
        path = unquote(parts.path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise UsageError(detail=f"{name} has percent-encoded bytes that are not UTF-8.") from None
    of_host = _bucket_of_host(parts)
    bucket, slash, key = (of_host, "/", path) if of_host else path.partition("/")
    try:
        if of_host is not None and slash:
            return check_bucket(bucket), key
    except UsageError:
        # Another kind of server.
        pass
    return f"{parts.scheme}://{parts.netloc.lower()}", path


def _bucket_of_host(parts: SplitResult) -> str | None:
    """Return the bucket that the host names; empty if the path names it; None if neither is certain."""
    host = parts.hostname or ""
    if is_local_host(host) or re.fullmatch(r"[0-9.]+|.*:.*", host):
        # Emulators and stores that are reached by an address.
        return ""
    labels = host.split(".")
    of_s3 = [index for index, label in enumerate(labels) if _S3_LABEL.fullmatch(label)]
    if of_s3:
        return ".".join(labels[: of_s3[-1]])
    for suffix, count in _STORES.items():
        if host == suffix or host.endswith(f".{suffix}"):
            own = labels[: len(labels) - len(suffix.split("."))]
            return ".".join(own[: len(own) - count] if count else own)
    return None


def _checked(key: str, name: str) -> str:
    if not key or key.endswith("/"):
        raise UsageError(
            detail=f"{name} names no object: write https://host/key, without a slash at its end, or s3://bucket/key."
        )
    try:
        return check_key(key)
    except NameRefused as error:
        raise UsageError(detail=f"{name}: {error}") from None
