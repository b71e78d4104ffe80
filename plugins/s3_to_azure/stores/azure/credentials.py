"""Azure's token credentials, with the memory of whether they ever provided a token."""

from functools import partial
from typing import Any

from s3_to_azure.model.errors import AZURE, TransferError
from s3_to_azure.stores.azure.errors import credentials_error
from s3_to_azure.stores.http.credentials import CredentialsProvider

# The SDK asks the second one whenever a credential has it.
_METHODS = ("get_token", "get_token_info")


def watch_credential(credential: Any, *, worked_before: bool = False) -> None:
    """Let failures of a token credential pass once it has provided a token; others, such as a key or a SAS, never fail.

    Args:
        credential: The SDK's; every client that it is given to asks it by the methods that are replaced here.
        worked_before: As for ``CredentialsProvider``.
    """
    provider = CredentialsProvider(AZURE, worked_before=worked_before)
    for name in _METHODS:
        if hasattr(credential, name) and not isinstance(getattr(credential, name), _Watched):
            setattr(credential, name, _Watched(provider, getattr(credential, name)))


class _Watched:
    """A method of a credential."""

    def __init__(self, provider: CredentialsProvider, method: Any) -> None:
        self._provider = provider
        self._method = method

    def __call__(self, *scopes: str, **options: Any) -> Any:
        try:
            return self._provider.obtain(partial(self._method, *scopes, **options))
        except TransferError:
            raise
        except Exception as error:  # noqa: BLE001 - of any of the SDK's credentials
            # Translated here: the storage SDK would take the response of Entra ID for the account's own.
            raise credentials_error(error, "the storage account") from None
