"""The key that a migration's ``signing_key`` names: in a file, an Airflow connection, AWS KMS or Azure Key Vault."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from s3_to_azure.airflow.connections import get_connection
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.ports import Signer
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.runs.signatures import MAX_KEY_BYTES, FileKey, read_signing_key
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.key_vault import VaultKey

_OF_KMS: Final = "arn:"
_OF_KEY_VAULT: Final = "https://"


@contextmanager
def opened_signer(
    setting: str | None,
    service: StreamingClient,
    *,
    aws_conn_id: str | None,
    s3_verify: bool | str | None,
    stop: threading.Event,
) -> Iterator[Signer | None]:
    """Yield what signs the certificates; None without a setting.

    Args:
        setting: The ARN of a key in KMS, the identifier of a key in Key Vault, the path of a file, which has a slash,
            or the id of an Airflow connection whose password is the key.
        service: The storage account's client, whose identity is used for Key Vault.
        aws_conn_id: Connection of type ``aws``, whose identity is used for KMS.
        s3_verify: As for ``s3_source``.
        stop: Ends a wait.

    Raises:
        TransferError: There is no such key.
    """
    if not setting:
        yield None
        return
    with closing(_signer(setting, service, aws_conn_id, s3_verify, Retrier(RetryBudget(), stop))) as signer:
        yield signer


def _signer(
    setting: str, service: StreamingClient, aws_conn_id: str | None, s3_verify: bool | str | None, retrier: Retrier
) -> Signer:
    if setting.startswith(_OF_KMS):
        # No other plan or report pays for the import of S3's SDK.
        from s3_to_azure.airflow.s3_hook import kms_key  # noqa: PLC0415

        return kms_key(aws_conn_id, setting, retrier, verify=s3_verify)
    if setting.startswith(_OF_KEY_VAULT):
        return VaultKey(service, setting, retrier)
    return load_signing_key(setting)


def load_signing_key(setting: str) -> FileKey:
    """Return the key in a file or in an Airflow connection.

    Args:
        setting: A path, which has a slash, or the id of a connection whose password is the key.

    Raises:
        UsageError: There is no such key.
    """
    if "/" not in setting:
        connection = get_connection(setting, "the certificate", "generic", "with the key as password")
        return read_signing_key(connection.password or "", name=f"The password of the Airflow connection {setting!r}")
    try:
        with Path(setting).open("rb") as file:
            text = file.read(MAX_KEY_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise UsageError(detail=f"This worker cannot read the signing key {setting!r}: {error.strerror}.") from None
    return read_signing_key(text, name=f"The file {setting!r}")
