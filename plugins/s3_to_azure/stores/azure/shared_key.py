"""Signs requests with an account's key as the SDK's policy does, in a tenth of its time.

The policy sorts the names of the headers anew for each request, with a comparison of its own. That takes longer than
anything else that Python does for a block.
"""

import base64
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from azure.storage.blob._shared.authentication import _storage_header_sort

from s3_to_azure.stores.azure.errors import invalid_account_key

# https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
_STANDARD: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_OF_SERVICE: Final = "x-ms-"


class SharedKeySigner:
    """Signs for one account.

    Args:
        policy: The SDK's signing policy, which has the account's name and key.

    Raises:
        UsageError: The key is not base64.
    """

    def __init__(self, policy: Any) -> None:
        self._account = policy.account_name
        try:
            self._key = base64.b64decode(policy.account_key)
        except ValueError:
            raise invalid_account_key() from None

    def authorization(self, method: str, url: str, headers: Mapping[str, str]) -> str:
        """Return the Authorization header of a request.

        Args:
            method: The request's method.
            url: Percent-encoded, as it is sent.
            headers: All other headers that the service sees.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        if lower.get("content-length") == "0":
            del lower["content-length"]
        parts = urlsplit(url)
        lines = [method, *(lower.get(name, "") for name in _STANDARD)]
        lines += [f"{name}:{lower[name]}" for name in _sorted(tuple(n for n in lower if n.startswith(_OF_SERVICE)))]
        lines.append(f"/{self._account}{parts.path}")
        if parts.query:
            queries = sorted(pair.partition("=")[::2] for pair in parts.query.split("&"))
            lines += [f"{name.lower()}:{unquote(value)}" for name, value in queries]
        signature = hmac.digest(self._key, "\n".join(lines).encode(), "sha256")
        return f"SharedKey {self._account}:{base64.b64encode(signature).decode('ascii')}"


@lru_cache(maxsize=256)
def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in the order of the service."""
    return tuple(name for name, _ in _storage_header_sort([(name, "") for name in names]))
