"""What authorises many writes to one container: a token, or a SAS that the SDK makes; neither signs each request."""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from azure.core.credentials import AzureSasCredential
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from s3_to_azure.stores.block_writer import SCOPE

_LIFE_S: Final = 3600
# Renewed this long before its end, so that no request arrives after it.
_EARLY_S: Final = 900
# As the SDK does: asked for earlier, the credential only gives the same token again.
_TOKEN_EARLY_S: Final = 300


class ContainerPass:
    """Query and headers that go along with each Put Blob.

    Args:
        client: Knows the account, the credential and the service version.
        container: The one container that it opens, for writing alone.
    """

    def __init__(self, client: BlobServiceClient, container: str) -> None:
        """Ask for nothing yet."""
        self._credential: Any = client.credential
        self._container = container
        self._fixed = {"x-ms-version": client.api_version, "Content-Type": "application/octet-stream"}
        self._kept = ("", "", 0.0)
        self._lock = threading.Lock()

    def of_now(self) -> tuple[str, Mapping[str, str]]:
        """Return the query, empty where there is none, and the headers of a request that is sent now.

        Raises:
            AzureError: There is no token to be had.
        """
        with self._lock:
            query, bearer, renew_at = self._kept
            if time.time() >= renew_at:
                query, bearer, renew_at = self._kept = self._renewed()
        headers = {**self._fixed, "x-ms-date": _date(int(time.time()))}
        if bearer:
            headers["Authorization"] = bearer
        return query, headers

    def _renewed(self) -> tuple[str, str, float]:
        credential, now = self._credential, time.time()
        if credential is None:
            # The account's URL holds a SAS.
            return "", "", now + _LIFE_S
        if hasattr(credential, "get_token"):
            token = credential.get_token(SCOPE)
            return "", f"Bearer {token.token}", float(token.expires_on) - _TOKEN_EARLY_S
        if isinstance(credential, AzureSasCredential):
            # Read anew each time: whoever made it may put a fresh one in.
            return credential.signature.lstrip("?"), "", 0.0
        sas = generate_container_sas(
            account_name=credential.account_name,
            container_name=self._container,
            account_key=credential.account_key,
            permission=ContainerSasPermissions(write=True, create=True),
            expiry=datetime.fromtimestamp(now + _LIFE_S, UTC),
        )
        return sas, "", now + _LIFE_S - _EARLY_S


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
