"""Errors of access: permanent, and with what the user can do."""

from s3_to_azure.model.errors import AccessDenied, AccessError, CredentialsRefused, PermanentError


def test_cure_ends_the_message() -> None:
    """The edge that sees a refusal knows what to do about it, and the message ends with that."""
    for error in (AccessDenied, CredentialsRefused):
        shown = str(error(service="S3", resource="'s3://b/k'", code="Denied", cure="Grant s3:GetObject."))
        assert shown.endswith("(Denied). Grant s3:GetObject.")


def test_no_retry_helps() -> None:
    """A key that is refused now is refused in a minute, too."""
    assert issubclass(AccessError, PermanentError)
