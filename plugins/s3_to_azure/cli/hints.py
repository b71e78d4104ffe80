"""What to tell somebody whose SRC matched nothing."""

from contextlib import suppress
from typing import Final

from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.options import did_you_mean
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.uris import S3Uri

_MAX_KEYS: Final = 1_000
_MAX_LEVELS: Final = 4


def near_source(source: ObjectSource, given: S3Uri) -> str:
    """Return a sentence with an address that holds objects and is like the given one; empty if there is none.

    It looks below the key, for a prefix that lacks its slash, and then at one page of each level above.
    """
    with suppress(TransferError):
        if not given.is_prefix and _names(source, given.bucket, f"{given.key}/"):
            return f"There are objects below s3://{given.bucket}/{given.key}/: end SRC in '/' to name them."
        parent, wanted = _split(given.key)
        for _ in range(_MAX_LEVELS):
            names = _names(source, given.bucket, parent)
            if names or not parent:
                near = did_you_mean(f"{parent}{wanted}", {parent + name for name in names})
                return near.lstrip()
            parent, wanted = _split(parent)
    return ""


def _split(key: str) -> tuple[str, str]:
    """Return what is above the last name of a key or prefix, and that name, which keeps its slash."""
    start = key.rfind("/", 0, -1) + 1
    return key[:start], key[start:]


def _names(source: ObjectSource, bucket: str, prefix: str) -> set[str]:
    """Return the next names below a prefix, as far as the listing's first page shows them."""
    rests = (item.key[len(prefix) :] for item in source.list(bucket, prefix, max_keys=_MAX_KEYS))
    return {name + slash for name, slash, _ in (rest.partition("/") for rest in rests)}
