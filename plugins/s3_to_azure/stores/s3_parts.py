"""The sizes of the parts in which an object was uploaded, which checksums over parts need."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from s3_to_azure.model.errors import PermanentError, SourceChanged
from s3_to_azure.model.limits import MAX_PARTS
from s3_to_azure.model.objects import ObjectVersion, PartSizes
from s3_to_azure.stores.s3_errors import s3_errors

_PAGE_PARTS: Final = 1_000


def part_sizes(client: Any, version: ObjectVersion, options: Mapping[str, Any], *, each: bool) -> PartSizes | None:
    """Return the sizes of the version's parts; None where S3 does not tell.

    GetObjectAttributes lists the parts, but only where they have checksums of their own and the identity may call it.
    Otherwise the first and the last part are looked at, which is enough where all but the last are equal.

    Args:
        client: boto3's.
        version: Of which object.
        options: More arguments of every request.
        each: Take no part's size from another's: ask for each.
    """
    if any(checksum.parts and checksum.algorithm != "md5" for checksum in version.weaker):
        listed = _listed(client, version, options)
        if listed:
            return PartSizes(listed, certain=True)
    first, count = _look(client, version, 1, options)
    if not 1 <= count <= MAX_PARTS:
        return None
    if count == 1:
        return PartSizes((first,), certain=True)
    last, _ = _look(client, version, count, options)
    if not each and first * (count - 1) + last == version.size_bytes:
        return PartSizes((*[first] * (count - 1), last), certain=count == 2)
    between = (_look(client, version, number, options)[0] for number in range(2, count))
    return PartSizes((first, *between, last), certain=True)


def _look(client: Any, version: ObjectVersion, number: int, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return the size of a part, and the number of parts; 0 where the server does not know parts."""
    with s3_errors(bucket=version.bucket, key=version.key, etag=version.etag):
        answer = client.head_object(
            Bucket=version.bucket, Key=version.key, PartNumber=number, IfMatch=f'"{version.etag}"', **options
        )
    return int(answer["ContentLength"]), int(answer.get("PartsCount", 0))


def _listed(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the sizes that GetObjectAttributes lists; nothing where it lists none or may not be called."""
    try:
        return tuple(_pages(client, version, options))
    except SourceChanged:
        raise
    except PermanentError:
        return ()


def _pages(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> Iterator[int]:
    marker = 0
    while True:
        with s3_errors(bucket=version.bucket, key=version.key, etag=version.etag):
            answer = client.get_object_attributes(
                Bucket=version.bucket,
                Key=version.key,
                ObjectAttributes=["ETag", "ObjectParts"],
                MaxParts=_PAGE_PARTS,
                PartNumberMarker=marker,
                **options,
            )
        if answer["ETag"].strip('"') != version.etag:
            raise SourceChanged(bucket=version.bucket, key=version.key, etag=version.etag)
        page = answer.get("ObjectParts", {})
        yield from (int(part["Size"]) for part in page.get("Parts", ()))
        if not page.get("IsTruncated"):
            return
        marker = page["NextPartNumberMarker"]
