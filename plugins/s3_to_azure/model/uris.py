"""The addresses of a copy: ``s3://bucket/...``, ``az://container/...`` and a blob's URL."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import blob_name, check_bucket, check_container, split_bucket

TEMPLATE_MARKS: Final = ("{{", "{%", "{#")
_BLOB_FORMS: Final = "az://container/path or the blob's https URL"
_PASSWORD: Final = re.compile(r"//[^/]*@")
_SAS: Final = re.compile(r"[?&]sig=")
_HOST: Final = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# These hosts name no account, so the first path segment does: emulators in the same network, by a name without a domain
# or by an address.
_HOST_WITHOUT_ACCOUNT: Final = re.compile(r"[^.]+|[0-9.]+|\[.*")
# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_QUEUE_REGION: Final = re.compile(r"(?:^|\.)sqs(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.")
_QUEUE_PATH: Final = re.compile(r"(?:/queue/[a-z0-9-]+)?/\d{12}/[A-Za-z0-9_-]{1,80}(?:\.fifo)?")
_LOCAL: Final = re.compile(r"(?:.+\.)?localhost(?:\.localstack\.cloud)?|127\.\d+\.\d+\.\d+|[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class S3Uri:
    """One object, or all objects below a prefix.

    Attributes:
        key: The object's key, or a prefix: empty or ending in a slash.
    """

    bucket: str
    key: str

    @property
    def is_prefix(self) -> bool:
        """Whether it names many objects."""
        return not self.key or self.key.endswith("/")


@dataclass(frozen=True, slots=True)
class AzureUri:
    """One blob, or a prefix in a container.

    Attributes:
        path: The blob's name, or the prefix.
        account_url: The account's endpoint; None where the credentials name the account.
    """

    container: str
    path: str
    account_url: str | None = None

    @property
    def prefix(self) -> str:
        """The path as a prefix: empty, or ending in a slash."""
        return self.path if not self.path or self.path.endswith("/") else f"{self.path}/"

    def blob_for(self, source: S3Uri, key: str, *, mapped: bool = False) -> str:
        """Return the blob's name for a key of the source; a name that the address itself gives is never mapped."""
        if source.is_prefix:
            return blob_name(key, s3_prefix=source.key, blob_prefix=self.prefix, mapped=mapped)
        if not self.path or self.path.endswith("/"):
            return blob_name(key.rpartition("/")[2], blob_prefix=self.path, mapped=mapped)
        return self.path


def parse_source(text: str, *, name: str) -> S3Uri:
    """Read ``s3://bucket/key`` or ``s3://bucket/prefix/``.

    Args:
        text: The address.
        name: The argument's name, for errors.

    Raises:
        UsageError: It is not an S3 address.
    """
    bucket, key = _split_s3(text, name, "s3://bucket/key or s3://bucket/prefix/")
    return S3Uri(check_bucket(bucket), key)


def parse_source_prefix(text: str, *, name: str) -> S3Uri:
    """Read ``s3://bucket/prefix/``; the bucket and the prefix may be templates.

    Raises:
        UsageError: It is not an S3 address, or it names one object.
    """
    bucket, key = _split_s3(text, name, "s3://bucket/prefix/")
    source = S3Uri(bucket if is_template(bucket) else check_bucket(bucket), key)
    if not source.is_prefix:
        raise UsageError(detail=f"{name} {text!r} must end in '/': all objects below the prefix are copied.")
    return source


def parse_key_list(text: str, *, bucket: str, name: str) -> str:
    """Return the key of a list of keys, ``s3://bucket/key``, in the source's own bucket.

    Raises:
        UsageError: It is not an S3 address, or it names no object of that bucket. A list in another bucket could be
            written by someone who has no say in what is copied.
    """
    listed = S3Uri(*_split_s3(text, name, f"s3://{bucket}/key"))
    if listed.bucket != bucket or listed.is_prefix:
        raise UsageError(
            detail=f"{name} {text!r} is not an object in the source's own bucket. Write s3://{bucket}/key."
        )
    return listed.key


def parse_report(text: str, *, name: str) -> S3Uri:
    """Read the address of a checksum report, ``s3://bucket/.../manifest.json``, in any bucket.

    Raises:
        UsageError: It is not an S3 address, or it names no object.
    """
    bucket, key = _split_s3(text, name, "s3://bucket/.../manifest.json")
    report = S3Uri(check_bucket(bucket), key)
    if report.is_prefix:
        raise UsageError(
            detail=f"{name} {text!r} is a prefix. Name the manifest.json that the job has written below it."
        )
    return report


def parse_inventory(text: str, *, name: str) -> S3Uri:
    """Read the address of an S3 Inventory: its ``manifest.json`` or ``symlink.txt``, or its configuration's folder.

    Raises:
        UsageError: It is none of these.
    """
    forms = "s3://bucket/…/manifest.json, or s3://bucket/…/configuration/ for the newest"
    bucket, key = _split_s3(text, name, forms)
    inventory = S3Uri(check_bucket(bucket), key)
    if not key or not (inventory.is_prefix or key.rpartition("/")[2] in ("manifest.json", "symlink.txt")):
        raise UsageError(detail=f"{name} {text!r} is not the address of an S3 Inventory. Write {forms}.")
    return inventory


def parse_destination(text: str, *, name: str) -> AzureUri:
    """Read ``az://container/path`` or the URL of a container or blob.

    Raises:
        UsageError: It is neither, or it carries a SAS or a password.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme in ("https", "http"):
        return _parse_url(scheme, rest, name)
    container, path = _split_azure(text, name, _BLOB_FORMS)
    return AzureUri(check_container(container), path)


def parse_destination_prefix(text: str, *, name: str) -> AzureUri:
    """Read ``az://container/prefix``; the container and the prefix may be templates.

    Raises:
        UsageError: It is not such an address.
    """
    container, path = _split_azure(text, name, "az://container/prefix")
    return AzureUri(container if is_template(container) else check_container(container), path)


def is_template(value: object) -> bool:
    """Say whether Airflow has still to render the value."""
    return isinstance(value, str) and any(mark in value for mark in TEMPLATE_MARKS)


def _split_s3(text: str, name: str, form: str) -> tuple[str, str]:
    # The query of a URL may be its signature.
    shown = text.partition("?")[0] if "://" in text and not text.startswith("s3://") else text
    return _split(text, "s3", f"{name} {_PASSWORD.sub('//…@', shown)!r} is not an S3 address. Write {form}.")


def _split_azure(text: str, name: str, form: str) -> tuple[str, str]:
    if _SAS.search(text):
        raise UsageError(
            detail=f"{name} carries a SAS, and all blobs would have it in their names. Put it where the credentials "
            "are, such as AZURE_STORAGE_SAS_TOKEN, and write az://container/path alone."
        )
    shown = _PASSWORD.sub("//…@", text.partition("?")[0])
    return _split(text, "az", f"{name} {shown!r} is not an Azure address. Write {form}.")


def _split(text: str, scheme: str, otherwise: str) -> tuple[str, str]:
    found, separator, rest = text.partition("://")
    root, path = split_bucket(rest)
    if found != scheme or not separator or not root:
        raise UsageError(detail=otherwise)
    return root, path


def _parse_url(scheme: str, rest: str, name: str) -> AzureUri:
    # urllib.parse.urlsplit drops tabs and newlines without an error; the copy would go to another name.
    if "?" in rest:
        raise UsageError(
            detail=f"{name} carries a query. Put a SAS into AZURE_STORAGE_SAS_TOKEN: other users of this machine can "
            "read command lines. Write %3F for a question mark in a blob's name."
        )
    host, _, path = rest.partition("/")
    if "@" in host:
        raise UsageError(detail=f"{name} carries a user name or password. Credentials come from the environment.")
    if "#" in rest:
        raise UsageError(detail=f"{name} carries a fragment. Write %23 for '#' in a blob's name.")
    matched = _HOST.fullmatch(host)
    account_url = f"{scheme}://{host}"
    if matched and _HOST_WITHOUT_ACCOUNT.fullmatch(matched[1]):
        account, _, path = path.partition("/")
        account_url = f"{account_url}/{account}"
    container, _, path = path.partition("/")
    if not matched or not container:
        raise UsageError(detail=f"{name} {f'{scheme}://{rest}'!r} is not an Azure address. Write {_BLOB_FORMS}.")
    try:
        return AzureUri(check_container(container), unquote(path, errors="strict"), account_url)
    except UnicodeDecodeError:
        raise UsageError(detail=f"{name} has percent-encoded bytes that are not UTF-8.") from None


def object_uri(bucket: str, key: str | None = None) -> str:
    """Return an object's address, or its bucket's, for people.

    Of an object whose URL does not tell the bucket, ``bucket`` is scheme and host (stores/presigned).
    """
    root = bucket if "://" in bucket else f"s3://{bucket}"
    return root if key is None else f"{root}/{key}"


def is_local_host(host: str) -> bool:
    """Return whether a host is this machine, or is in its network by a name without a domain: neither needs TLS."""
    return _LOCAL.fullmatch(host) is not None


def queue_endpoint(url: str) -> tuple[str, str | None]:
    """Return the endpoint of a queue's URL, and the region that its host names.

    Raises:
        UsageError: It is not the URL of an SQS queue, or one without TLS on another machine.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    host = parts.hostname or ""
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_local_host(host))
    if not is_safe or not host or not _QUEUE_PATH.fullmatch(parts.path) or parts.query or parts.fragment or "@" in url:
        raise UsageError(
            detail=f"{url[:200]!r} is not the URL of an SQS queue: https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE, as "
            "the console and `aws sqs get-queue-url` show it."
        )
    match = _QUEUE_REGION.search(host)
    return f"{parts.scheme}://{parts.netloc}", match["region"] if match else None
