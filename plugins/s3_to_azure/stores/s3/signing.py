"""AWS Signature Version 4 in a request's headers, with the credentials of the moment."""

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
        credentials: botocore's, refreshable ones included.
        region: The bucket's own.
    """

    def __init__(self, credentials: Any, region: str) -> None:
        """Keep what signing needs; nothing is signed yet."""
        self._credentials = credentials
        self._region = region
        self._used_key: str | None = None
        self._prepared: _Prepared | None = None

    def signed(self, method: str, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers with a signature made now.

        Args:
            method: GET.
            url: Encoded already.
            headers: All; only what is S3's business is signed: a proxy may change Connection, Accept, Accept-Encoding.
        """
        frozen = self._credentials.get_frozen_credentials()
        self._used_key = frozen.access_key
        covered = {name: value for name, value in headers.items() if _is_signed(name.lower())}
        request = AWSRequest(method=method, url=url, headers=covered)
        S3SigV4Auth(frozen, "s3", self._region).add_auth(request)
        return {**headers, **dict(request.headers.items())}

    def signed_get(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return a GET's headers with a signature made now, the fast way where they are pinned to an ETag.

        Args:
            url: Encoded already, with one query parameter at most.
            headers: All; what is signed is what ``signed`` signs.
        """
        covered = {name.lower(): value for name, value in headers.items() if _is_signed(name.lower())}
        if "if-match" not in covered:
            return self.signed("GET", url, headers)
        if_match, wanted_range = covered.pop("if-match"), covered.pop("range", None)
        unsigned = {name: value for name, value in headers.items() if not _is_signed(name.lower())}
        return unsigned | self.signed_fast(url, if_match=if_match, others=covered, wanted_range=wanted_range)

    def signed_fast(
        self, url: str, *, if_match: str, others: Mapping[str, str], wanted_range: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a GET with the same signature, made in a fraction of the time.

        Args:
            url: Encoded already, with one query parameter at most.
            if_match: The header's value.
            others: The same for every request; names in lower case, each begins with ``x-amz-``. All are signed.
            wanted_range: The Range header's value.
        """
        stamp = _stamp(int(time.time()))
        frozen = self._credentials.get_frozen_credentials()
        self._used_key = frozen.access_key
        own = {"if-match": if_match} if wanted_range is None else {"if-match": if_match, "range": wanted_range}
        prepared = self._prepared
        if prepared is None or prepared.made_of != (stamp, frozen, others, tuple(own)):
            prepared = self._prepared = _Prepared.of(stamp, frozen, self._region, others, tuple(own))
        start = url.index("/", url.index("//") + 2)
        path, _, query = url[start:].partition("?")
        said = "".join(f"{name}:{_trimmed(value)}\n" for name, value in own.items())
        request = f"GET\n{path}\n{query}\nhost:{_host(url[:start])}\n{said}{prepared.said}"
        text = prepared.before_digest + hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.digest(prepared.key, text.encode(), "sha256").hex()
        return {**own, **prepared.headers, "authorization": prepared.before_signature + signature}

    def is_outdated(self) -> bool:
        """Say whether the credentials changed since the last signature."""
        return bool(self._credentials.get_frozen_credentials().access_key != self._used_key)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the signatures of one second have in common.

    Attributes:
        made_of: Stamp, credentials, the headers that all requests share, and the names of those they do not.
        said: The canonical request from the first header on that all requests share.
        before_digest: The text to sign, up to the request's digest.
        before_signature: The Authorization header, up to the signature.
    """

    made_of: tuple[str, Any, Mapping[str, str], tuple[str, ...]]
    headers: Mapping[str, str]
    key: bytes
    said: str
    before_digest: str
    before_signature: str

    @classmethod
    def of(
        cls, stamp: str, credentials: Any, region: str, given: Mapping[str, str], own: tuple[str, ...]
    ) -> "_Prepared":
        headers = {**given, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        names = ";".join(("host", *own, *sorted(headers)))
        scope = f"{stamp[:8]}/{region}/s3/aws4_request"
        return cls(
            (stamp, credentials, given, own),
            headers,
            key=_key_of_the_day(credentials.secret_key, stamp[:8], region),
            said="".join(f"{name}:{_trimmed(headers[name])}\n" for name in sorted(headers)) + f"\n{names}\n{_NO_BODY}",
            before_digest=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            before_signature=(
                f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature="
            ),
        )


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


@lru_cache(maxsize=8)
def _key_of_the_day(secret: str, day: str, region: str) -> bytes:
    """Derive the signing key; https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _trimmed(value: str) -> str:
    return " ".join(value.split()) if " " in value or not value.isprintable() else value


@lru_cache(maxsize=8)
def _host(base: str) -> str:
    """Return the Host header that HTTP clients send: without the scheme's own port."""
    parts = urlsplit(base)
    own = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.netloc.rpartition(":")[0] if parts.port == own else parts.netloc


def _is_signed(name: str) -> bool:
    return name in ("range", "if-match") or name.startswith("x-amz-")
