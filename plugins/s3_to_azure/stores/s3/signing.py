"""AWS signatures in a request's headers, made with the credentials that are valid now."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

from botocore.auth import AUTH_TYPE_MAPS
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

from s3_to_azure.stores.http.redaction import check_printable, hide

_NO_BODY: Final = hashlib.sha256(b"").hexdigest()
_SIGV4: Final = ("v4", "s3v4")
_EXPRESS_SESSION: Final = "v4-s3express"
_EXPRESS_HEADER: Final = "x-amz-s3session-token"

_SESSION_HEADER: Final = "x-amz-security-token"
# Headers that differ from request to request, in the order of the signature.
_OWN: Final = ("if-match", "range")


class Signer(Protocol):
    """Signs requests of one bucket."""

    def sign_get(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return a GET's headers with a signature.

        Args:
            url: Percent-encoded, with at most one query parameter.
            headers: All headers. Those that a proxy may change (Connection, Accept, Accept-Encoding) are not signed.
        """
        ...

    def sign_pinned_get(
        self, url: str, *, if_match: str, shared: Mapping[str, str], byte_range: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a GET with a signature.

        Args:
            url: Percent-encoded, with at most one query parameter.
            if_match: Value of the If-Match header.
            shared: Headers that all requests have in common, by lower-case name; each name begins with ``x-amz-``.
            byte_range: Value of the Range header.
        """
        ...

    def is_outdated(self) -> bool:
        """Say whether the credentials have changed since the last signature."""
        ...


def signer_for(scheme: str, credentials: Any, *, region: str, service: str) -> Signer:
    """Return a signer.

    Args:
        scheme: botocore's name of the signature.
        credentials: botocore's credentials, which may be refreshable.
        region: The region, or the regions, that the signature is made for.
        service: The service's name in the signature.
    """
    if is_sigv4(scheme):
        return SigV4(credentials, region, service)
    if scheme == _EXPRESS_SESSION:
        return SigV4(credentials, region, service, express_session=True)
    return _BotocoreSigner(scheme, credentials, region, service)


def is_sigv4(scheme: str) -> bool:
    """Return whether a signature that botocore names so is one of a single region with the caller's own credentials."""
    return scheme in _SIGV4


# What all presigned URLs have in common, with values of the usual length.
_PRESIGNED_QUERY: Final = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Date": "20260101T000000Z",
    "X-Amz-Expires": "604800",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": 64 * "0",
}


def presigned_query_characters(credentials: Any, *, region: str, service: str) -> int:
    """Return the length of a presigned URL's query with the credentials that are valid now.

    Raises:
        NoCredentialsError: There are none.
    """
    frozen = frozen_credentials(credentials)
    query = {**_PRESIGNED_QUERY, "X-Amz-Credential": f"{frozen.access_key}/20260101/{region}/{service}/aws4_request"}
    if frozen.token:
        query["X-Amz-Security-Token"] = frozen.token
    return len(urlencode(query))


class _BotocoreSigner(Signer):
    """Signs with botocore, such as the asymmetric signatures of multi-region access points."""

    def __init__(self, scheme: str, credentials: Any, region: str, service: str) -> None:
        self._scheme = scheme
        self._credentials = credentials
        self._region = region
        self._service = service
        self._used_key: str | None = None

    def sign_get(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        frozen = frozen_credentials(self._credentials)
        self._used_key = frozen.access_key
        covered = {name: value for name, value in headers.items() if _is_signed(name.lower())}
        request = AWSRequest(method="GET", url=url, headers=covered)
        AUTH_TYPE_MAPS[self._scheme](frozen, self._service, self._region).add_auth(request)
        # The HTTP client adds the host.
        return {**headers, **{name: value for name, value in request.headers.items() if name.lower() != "host"}}

    def sign_pinned_get(
        self, url: str, *, if_match: str, shared: Mapping[str, str], byte_range: str | None = None
    ) -> dict[str, str]:
        own = {"if-match": if_match} if byte_range is None else {"if-match": if_match, "range": byte_range}
        return dict(self.sign_get(url, {**own, **shared}))

    def is_outdated(self) -> bool:
        return bool(self._credentials.get_frozen_credentials().access_key != self._used_key)


class SigV4(Signer):
    """Signs with AWS Signature Version 4 for one region, faster than botocore does.

    Args:
        credentials: botocore's credentials, which may be refreshable.
        region: The bucket's region.
        service: The service's name in the signature.
        express_session: The credentials are those of a directory bucket's session.
    """

    def __init__(self, credentials: Any, region: str, service: str = "s3", *, express_session: bool = False) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._session_header = _EXPRESS_HEADER if express_session else _SESSION_HEADER
        self._used_key: str | None = None
        self._prepared: _Prepared | None = None

    def sign_get(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return a GET's headers with a signature."""
        signed = {name.lower(): value for name, value in headers.items() if _is_signed(name.lower())}
        own: dict[str, str] = {name: signed.pop(name) for name in _OWN if name in signed}
        unsigned = {name: value for name, value in headers.items() if not _is_signed(name.lower())}
        return unsigned | self._signed(url, own, signed)

    def sign_pinned_get(
        self, url: str, *, if_match: str, shared: Mapping[str, str], byte_range: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a GET with a signature."""
        own = {"if-match": if_match} if byte_range is None else {"if-match": if_match, "range": byte_range}
        return self._signed(url, own, shared)

    def _signed(self, url: str, own: Mapping[str, str], shared: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a GET with the signature that botocore would make, in a fraction of its time."""
        stamp = _stamp(int(time.time()))
        frozen = frozen_credentials(self._credentials)
        self._used_key = frozen.access_key
        prepared = self._prepared
        if prepared is None or prepared.inputs != (stamp, frozen, shared, tuple(own)):
            scope = _Scope(self._region, self._service, self._session_header)
            prepared = self._prepared = _Prepared.of(stamp, frozen, scope, shared, tuple(own))
        start = url.index("/", url.index("//") + 2)
        path, _, query = url[start:].partition("?")
        own_lines = "".join(f"{name}:{_trimmed(value)}\n" for name, value in own.items())
        canonical = f"GET\n{path}\n{query}\nhost:{_host(url[:start])}\n{own_lines}{prepared.canonical_end}"
        to_sign = prepared.before_digest + hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(prepared.key, to_sign.encode(), "sha256").hex()
        return {**own, **prepared.headers, "authorization": prepared.before_signature + signature}

    def is_outdated(self) -> bool:
        """Say whether the credentials have changed since the last signature."""
        return bool(self._credentials.get_frozen_credentials().access_key != self._used_key)


@dataclass(frozen=True, slots=True)
class _Scope:
    region: str
    service: str
    session_header: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The parts that the signatures of one second have in common.

    Attributes:
        inputs: Timestamp, credentials, shared headers, and the names of each request's own headers.
        headers: The shared headers, with those that the signature adds.
        key: The day's signing key.
        canonical_end: The canonical request from its first shared header on.
        before_digest: The string to sign, up to the request's digest.
        before_signature: The Authorization header, up to the signature.
    """

    inputs: tuple[str, Any, Mapping[str, str], tuple[str, ...]]
    headers: Mapping[str, str]
    key: bytes
    canonical_end: str
    before_digest: str
    before_signature: str

    @classmethod
    def of(
        cls, stamp: str, credentials: Any, scope: "_Scope", shared: Mapping[str, str], own: tuple[str, ...]
    ) -> "_Prepared":
        headers = {**shared, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
        if credentials.token:
            headers[scope.session_header] = credentials.token
        names = ";".join(("host", *own, *sorted(headers)))
        name = f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"
        return cls(
            (stamp, credentials, shared, own),
            headers,
            key=_signing_key(credentials.secret_key, stamp[:8], scope.region, scope.service),
            canonical_end="".join(f"{name}:{_trimmed(headers[name])}\n" for name in sorted(headers))
            + f"\n{names}\n{_NO_BODY}",
            before_digest=f"AWS4-HMAC-SHA256\n{stamp}\n{name}\n",
            before_signature=(
                f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{name}, SignedHeaders={names}, Signature="
            ),
        )


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Derive a day's signing key; https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _trimmed(value: str) -> str:
    return " ".join(value.split()) if " " in value or not value.isprintable() else value


@lru_cache(maxsize=8)
def _host(base: str) -> str:
    """Return the Host header that HTTP clients send: without the scheme's default port."""
    parts = urlsplit(base)
    default_port = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.netloc.rpartition(":")[0] if parts.port == default_port else parts.netloc


def _is_signed(name: str) -> bool:
    return name in _OWN or name.startswith("x-amz-")


def frozen_credentials(credentials: Any) -> Any:
    """Return the credentials that are valid now.

    Raises:
        NoCredentialsError: There are none.
        UsageError: They have a control character.
    """
    if credentials is None:
        raise NoCredentialsError
    frozen = credentials.get_frozen_credentials()
    _look_at(frozen.access_key, frozen.secret_key, frozen.token)
    return frozen


@lru_cache(maxsize=8)
def _look_at(access_key: str, secret_key: str, token: str | None) -> None:
    """Mask new credentials in logs, and refuse those that no request can carry."""
    hide(secret_key, token)
    for name, value in (("access key", access_key), ("secret key", secret_key), ("session token", token)):
        check_printable(f"The {name} for S3", value or "")


def look_at_credentials(request_signer: Any, **_: Any) -> None:
    """Look at the credentials with which botocore signs a request; for its event ``before-sign``."""
    credentials = request_signer._credentials  # noqa: SLF001 - botocore's event has no other way to them
    if credentials is not None:
        frozen_credentials(credentials)
