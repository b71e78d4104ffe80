"""``s3://bucket/prefix/`` and ``az://container/prefix`` as a migration names them; no I/O."""

from dataclasses import dataclass
from typing import Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import check_bucket, check_container

_TEMPLATE_MARKS: Final = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket or container, and what the names in it begin with: empty, or ending in a slash."""

    root: str
    prefix: str


def parse_source(text: str) -> Place:
    """Read ``s3://bucket/prefix/``; the prefix may be empty or hold templates.

    Raises:
        UsageError: It is no such address.
    """
    bucket, prefix = _split(text, "s3", "source")
    if prefix and not prefix.endswith("/"):
        raise UsageError(what=f"source={text!r} must end in a slash: all keys below it are copied.")
    return Place(bucket if is_template(bucket) else check_bucket(bucket), prefix)


def parse_destination(text: str) -> Place:
    """Read ``az://container/prefix``; the prefix gets its slash.

    Raises:
        UsageError: It is no such address.
    """
    container, prefix = _split(text, "az", "destination")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return Place(container if is_template(container) else check_container(container), prefix)


def key_list(text: str, bucket: str) -> str:
    """Return the key of a list of keys, ``s3://bucket/key``.

    Raises:
        UsageError: It is no such address, or it lies in another bucket: what may be copied is the source's own affair.
    """
    root, key = _split(text, "s3", "keys_from")
    if root != bucket or not key or key.endswith("/"):
        raise UsageError(what=f"keys_from={text!r} names no object in the source's own bucket, s3://{bucket}/….")
    return key


def is_template(value: object) -> bool:
    """Say whether Airflow has still to render the value."""
    return isinstance(value, str) and any(mark in value for mark in _TEMPLATE_MARKS)


def _split(text: str, scheme: str, name: str) -> tuple[str, str]:
    head, separator, rest = text.partition("://")
    root, _, prefix = rest.partition("/")
    if head != scheme or not separator or not root:
        raise UsageError(what=f"{name}={text!r} is no address of the form {scheme}://name/prefix/.")
    return root, prefix
