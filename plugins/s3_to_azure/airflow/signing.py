"""The key that signs a run's certificate: in a file of the workers, or in an Airflow connection."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from s3_to_azure.airflow.connections import get_connection
from s3_to_azure.model.errors import UsageError
from s3_to_azure.runs.certificate import MAX_FILE_BYTES, read_signing_key


def load_signing_key(setting: str | None) -> Ed25519PrivateKey | None:
    """Return the key that a migration's ``signing_key`` names; None without one.

    Args:
        setting: A path, which has a slash, or the id of a connection whose password is the key.

    Raises:
        UsageError: There is no such key.
    """
    if not setting:
        return None
    if "/" not in setting:
        connection = get_connection(setting, "the certificate", "generic", "with the key as password")
        return read_signing_key(connection.password or "", name=f"The password of the Airflow connection {setting!r}")
    try:
        with Path(setting).open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise UsageError(detail=f"This worker cannot read the signing key {setting!r}: {error.strerror}.") from None
    return read_signing_key(text, name=f"The file {setting!r}")
