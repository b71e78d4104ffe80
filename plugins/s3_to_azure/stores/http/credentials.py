"""A failure to obtain credentials may pass if they were obtained before."""

from collections.abc import Callable
from typing import TypeVar

from s3_to_azure.model.errors import CredentialsUnavailable, TransferError
from s3_to_azure.stores.http.redaction import redacted_line

T = TypeVar("T")


class CredentialsProvider:
    """Remembers whether the credentials of one service were obtained in this task.

    A copy takes hours, and temporary credentials last an hour or less. A metadata service, STS, Entra ID or a program
    that fails or refuses once in between does not mean that the connection is wrong. What it means if they were never
    obtained, the error says.

    Args:
        service: ``S3`` or ``AZURE``.
        worked_before: They were obtained earlier: by an earlier try of this task, or by an earlier poke of a sensor.
    """

    def __init__(self, service: str, *, worked_before: bool = False) -> None:
        self.has_worked = worked_before
        self._service = service

    def obtain(self, function: Callable[[], T], *, is_proof: bool = True) -> T:
        """Return what the function returns, and raise what it raises as long as it has never succeeded.

        Args:
            function: Obtains the credentials, or what they will be obtained from.
            is_proof: Its success shows that they can be obtained.

        Raises:
            CredentialsUnavailable: It failed, but succeeded before.
        """
        try:
            found = function()
        except TransferError:
            raise
        except Exception as error:
            if self.has_worked:
                raise self.unavailable(str(error) or type(error).__name__) from None
            raise
        self.has_worked |= is_proof
        return found

    def unavailable(self, detail: str) -> CredentialsUnavailable:
        """Return the error of credentials that worked before."""
        return CredentialsUnavailable(service=self._service, detail=redacted_line(detail))
