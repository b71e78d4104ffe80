"""The root of the error tree, transient errors, and what is wrong with an argument, a setting or a state file."""

from collections.abc import Mapping
from functools import partial
from string import Formatter
from typing import ClassVar, Final, Self

from s3_to_azure.model.reasons import explained

S3: Final = "S3"
"""The source's name in errors and logs."""

AZURE: Final = "Azure Blob Storage"
"""The destination's name in errors and logs."""


class TransferError(Exception):
    """An error with named attributes and a message made from them.

    Args:
        attributes: Exactly the names in braces in ``template``, and those in ``extra``.

    Raises:
        TypeError: An attribute is missing or unknown.
    """

    template: ClassVar[str] = "{detail}"
    extra: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **attributes: object) -> None:
        wanted = self.fields()
        if wanted != set(attributes):
            raise TypeError(f"{type(self).__name__} takes {sorted(wanted)}, not {sorted(attributes)}")
        self.attributes: Mapping[str, object] = attributes
        super().__init__(self.template.format_map(attributes))

    @classmethod
    def fields(cls) -> set[str]:
        """Return the names of all attributes."""
        return {name for _, name, _, _ in Formatter().parse(cls.template) if name} | cls.extra

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the attributes, so that an error can pass between processes."""
        return partial(type(self), **self.attributes), ()

    @classmethod
    def reason(cls) -> str:
        """Return the code of a receipt's reason: ``object_not_found`` for ``ObjectNotFound``."""
        name = cls.__name__
        return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))

    def as_reason(self) -> str:
        """Return a receipt's reason: the code and the message."""
        return explained(self.reason(), str(self))


class Cancelled(TransferError):
    """The copy was stopped from outside."""

    template = "Stopped on request. The staged blocks stay in Azure, and the next try sends only what is missing."

    @classmethod
    def now(cls) -> Self:
        """Return the error, which has no attributes."""
        return cls()


class TransientError(TransferError):
    """The failure may pass by itself."""

    @property
    def retry_after_s(self) -> float | None:
        """The wait in seconds before the next try, or None if it is not known."""
        value = self.attributes.get("retry_after_s")
        return value if isinstance(value, (int, float)) else None


class Throttled(TransientError):
    """The service asks for fewer requests; ``retry_after_s`` is the wait in seconds that it asks for, or None."""

    template = "{service} asked this program to slow down ({code}). If this lasts, lower the parallelism or set a bandwidth_limit."
    extra = frozenset({"retry_after_s"})


class ServerFailed(TransientError):
    """The service answered with a 5xx status that is not throttling."""

    template = "{service} failed with status {status} ({code}) on {resource}. The request is retried; if this lasts, look at the service's health page."


class ConnectionFailed(TransientError):
    """The connection was refused, reset, timed out or ended early."""

    template = "The connection to {service} failed on {resource}: {detail}. The request is retried; if this lasts, check the network, the proxy and the endpoint."


class CredentialsUnavailable(TransientError):
    """The metadata service, STS, Entra ID or a program did not give the credentials that are due."""

    template = "The credentials for {service} could not be obtained: {detail}. The request is retried; if this lasts, check the role, identity or profile of this connection, and the network to the service that issues its credentials."


class NotReady(TransientError):
    """The service is still creating or deleting what the request needs; ``retry_after_s`` is a wait in seconds."""

    template = "{service} is not ready for {resource}: {detail} ({code}). The request is retried; if this lasts, run again in some minutes."
    extra = frozenset({"retry_after_s"})


class CorruptedInTransit(TransientError):
    """Azure computed another CRC64 for a block than the one sent with it."""

    template = "A block of blob {blob!r} arrived damaged, and Azure refused it. The block is sent again; if this lasts, check this machine's memory and network card."


class ReadbackDiffers(TransientError):
    """Azure returns other bytes than were sent."""

    template = "Blob {blob!r} in container {container!r} was written, but Azure returns other bytes than were sent between {start} and {end}. It is marked as damaged where that is possible, and the next try or run copies it again; if this lasts, check this machine's memory and any proxy in between."


class ProcessEnded(TransientError):
    """One of the processes that share a copy ended before its work was done."""

    template = "The process {name} ended before its work was done: {how}. What it had copied stays copied; run the same command again for the rest. If the system killed it because memory was short, use fewer processes or a smaller memory budget."


class RetryableObjectsFailed(TransientError):
    """Objects of a batch failed, and a retry may help at least one of them."""

    template = "{failed} of {total} objects failed, {transient} of them for a reason that may pass; first: {first}"


class PermanentError(TransferError):
    """A retry cannot help."""


class UsageError(PermanentError):
    """An argument or a setting is wrong."""


class BudgetTooSmall(UsageError):
    """The memory budget is smaller than one block of the object."""

    template = "An object of {size_bytes} bytes needs blocks of {needs} bytes, more than memory_budget={budget} bytes can hold. Raise memory_budget to at least {needs} bytes."


class ConnectionMissing(UsageError):
    """An Airflow connection, or the environment's credentials, are missing."""

    template = "No usable credentials for {service}: {detail}. {cure}"


class CorruptState(PermanentError):
    """A manifest, plan or receipt in the state location is missing, damaged or invalid."""

    template = "The state file {path!r} cannot be used: {detail}. Nothing was copied from it; start a new run."


class UnsupportedStateFormat(PermanentError):
    """A manifest, plan or receipt has a format that this version cannot read."""

    template = "The state file {path!r} has format {found}, and this version reads format {supported}. A newer version of s3-to-azure wrote it: upgrade this worker, then clear the task."
