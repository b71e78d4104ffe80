"""S3's credentials, for boto3's own requests and for ours, with the memory of whether they were ever obtained."""

from typing import Any

from botocore import UNSIGNED

from s3_to_azure.stores.http.credentials import CredentialsProvider
from s3_to_azure.stores.s3.errors import s3_settings_errors


def obtained_credentials(session: Any, client: Any, provider: CredentialsProvider) -> Any:
    """Return the session's credentials, which the provider watches from now on, also while the client uses them.

    Args:
        session: A boto3 session.
        client: Its client.
        provider: Remembers whether they were obtained.

    Returns:
        None if there are none: requests to a public bucket need none.

    Raises:
        CredentialsUnavailable: There are none at present, but there were.
    """
    if client.meta.config.signature_version is UNSIGNED:
        return None
    credentials = provider.obtain(session.get_credentials, is_proof=False)
    if credentials is None:
        if provider.has_worked:
            # The metadata service did not answer, so the session found no provider at all.
            raise provider.unavailable("boto3 finds none in environment, files, or instance metadata")
        return None
    refresh = credentials.get_frozen_credentials

    def watched() -> Any:
        try:
            return provider.obtain(refresh)
        except Exception:
            # Translated here: a refusal of STS would else be taken for S3's.
            with s3_settings_errors():
                raise

    # The client signs with the same object, and takes its credentials by this method.
    credentials.get_frozen_credentials = watched
    return credentials
