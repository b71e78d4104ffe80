"""AWS Signature Version 4 in a request's headers, made with the credentials that are valid now."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

_NO_BODY: Final = hashlib.sha256(b"").hexdigest()


class SigV4:
    """Signs requests for one region.

    Args:
        credentials: botocore's credentials, which may be refreshable.
        region: The bucket's region.
    """

    def __init__(self, credentials: Any, region: str) -> None:
        self._credentials = credentials
        self._region = region
        self._used_key: str | None = None
        self._prepared: _Prepared | None = None

    def sign(self, method: str, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers with a signature made by botocore.

        Args:
            method: HTTP method.
            url: Percent-encoded.
            headers: All headers. Those that a proxy may change (Connection, Accept, Accept-Encoding) are not signed.
        """
        frozen = self._credentials.get_frozen_credentials()
        self._used_key = frozen.access_key
        signed = {name: value for name, value in headers.items() if _is_signed(name.lower())}
        request = AWSRequest(method=method, url=url, headers=signed)
        S3SigV4Auth(frozen, "s3", self._region).add_auth(request)
        return {**headers, **dict(request.headers.items())}

    def sign_get(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return a GET's headers with a signature, made by ``sign_pinned_get`` if they contain If-Match.

        Args:
            url: Percent-encoded, with at most one query parameter.
            headers: All headers; the same ones are signed as in ``sign``.
        """
        signed = {name.lower(): value for name, value in headers.items() if _is_signed(name.lower())}
        if "if-match" not in signed:
            return self.sign("GET", url, headers)
        if_match, byte_range = signed.pop("if-match"), signed.pop("range", None)
        unsigned = {name: value for name, value in headers.items() if not _is_signed(name.lower())}
        return unsigned | self.sign_pinned_get(url, if_match=if_match, shared=signed, byte_range=byte_range)

    def sign_pinned_get(
        self, url: str, *, if_match: str, shared: Mapping[str, str], byte_range: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a GET with the signature that ``sign`` would make, in a fraction of its time.

        Args:
            url: Percent-encoded, with at most one query parameter.
            if_match: Value of the If-Match header.
            shared: Headers that all requests have in common, by lower-case name; each name begins with ``x-amz-``.
            byte_range: Value of the Range header.
        """
        stamp = _stamp(int(time.time()))
        frozen = self._credentials.get_frozen_credentials()
        self._used_key = frozen.access_key
        own = {"if-match": if_match} if byte_range is None else {"if-match": if_match, "range": byte_range}
        prepared = self._prepared
        if prepared is None or prepared.inputs != (stamp, frozen, shared, tuple(own)):
            prepared = self._prepared = _Prepared.of(stamp, frozen, self._region, shared, tuple(own))
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
        cls, stamp: str, credentials: Any, region: str, shared: Mapping[str, str], own: tuple[str, ...]
    ) -> "_Prepared":
        headers = {**shared, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        names = ";".join(("host", *own, *sorted(headers)))
        scope = f"{stamp[:8]}/{region}/s3/aws4_request"
        return cls(
            (stamp, credentials, shared, own),
            headers,
            key=_signing_key(credentials.secret_key, stamp[:8], region),
            canonical_end="".join(f"{name}:{_trimmed(headers[name])}\n" for name in sorted(headers))
            + f"\n{names}\n{_NO_BODY}",
            before_digest=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            before_signature=(
                f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature="
            ),
        )


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    """Derive a day's signing key; https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
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
    return name in ("range", "if-match") or name.startswith("x-amz-")
