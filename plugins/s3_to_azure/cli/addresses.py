"""SRC and DST of the command line; no I/O."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import blob_name, check_bucket, check_container


@dataclass(frozen=True, slots=True)
class Source:
    """What SRC names: one key, or all below a prefix."""

    bucket: str
    key: str

    @property
    def is_prefix(self) -> bool:
        """Whether it names many objects."""
        return not self.key or self.key.endswith("/")


@dataclass(frozen=True, slots=True)
class Destination:
    """What DST names.

    Attributes:
        account_url: The account's endpoint where DST is a URL, else None.
        path: The blob's name, or the prefix.
    """

    account_url: str | None
    container: str
    path: str

    @property
    def folder(self) -> str:
        """The path as a prefix: empty, or ending in a slash."""
        return self.path if not self.path or self.path.endswith("/") else f"{self.path}/"

    def blob_for(self, source: Source, key: str, *, mapped: bool = False) -> str:
        """Return the blob's name for a key of the source; one that DST names itself is never mapped."""
        if source.is_prefix:
            return blob_name(key, s3_prefix=source.key, blob_prefix=self.folder, mapped=mapped)
        if not self.path or self.path.endswith("/"):
            return blob_name(key.rpartition("/")[2], blob_prefix=self.path, mapped=mapped)
        return self.path


def parse_source(text: str) -> Source:
    """Read SRC.

    Raises:
        UsageError: It is no S3 address.
    """
    scheme, separator, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise UsageError(what=f"SRC {text!r} is no S3 address. Write s3://bucket/key or s3://bucket/prefix/.")
    return Source(check_bucket(bucket), key)


def parse_destination(text: str) -> Destination:
    """Read DST.

    Raises:
        UsageError: It is no address of a container or blob, or it carries a token.
    """
    wrong = UsageError(
        what=f"DST {text.partition('?')[0]!r} is no Azure address. Write az://container/path or the blob's https URL."
    )
    scheme, separator, rest = text.partition("://")
    if scheme == "az" and separator:
        container, _, path = rest.partition("/")
        return Destination(None, check_container(container), path)
    if scheme not in ("https", "http") or not separator:
        raise wrong
    parts = urlsplit(text)
    if parts.query:
        raise UsageError(
            what="DST carries a query. Put a SAS into AZURE_STORAGE_SAS_TOKEN: command lines are visible to everyone."
        )
    segments = parts.path.lstrip("/").split("/")
    account = []
    if not parts.hostname or parts.hostname == "localhost" or parts.hostname.replace(".", "").isdigit():
        account, segments = segments[:1], segments[1:]
    if not segments or not segments[0]:
        raise wrong
    url = "/".join([f"{scheme}://{parts.netloc}", *account])
    return Destination(url, check_container(segments[0]), unquote("/".join(segments[1:])))
