"""The sizes of the parts in which an object was uploaded, as far as S3 reveals them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from s3_to_azure.model.checksums import CRC64NVME, from_s3
from s3_to_azure.model.errors import S3, PermanentError, SourceChanged, UnexpectedResponse
from s3_to_azure.model.limits import MAX_PARTS
from s3_to_azure.model.objects import ObjectVersion, PartChecksum, PartSizes
from s3_to_azure.stores.http.headers import by_lower_name
from s3_to_azure.stores.s3.errors import s3_errors
from s3_to_azure.stores.s3.headers import RAW_HEADERS, ResponseHeaders

_PAGE_PARTS: Final = 1_000


def part_sizes(client: Any, version: ObjectVersion, options: Mapping[str, Any], *, each: bool) -> PartSizes | None:
    """Return the sizes of the version's parts; None if S3 does not reveal them.

    GetObjectAttributes lists parts only if they have checksums of their own, and it needs a permission. Otherwise a
    HEAD of the first and of the last part is enough if all parts but the last have the same size.

    Args:
        client: boto3's S3 client.
        version: The object's version.
        options: Arguments added to every request.
        each: HEAD every part, and derive no part's size from another's.
    """
    if any(checksum.parts and checksum.algorithm != "md5" for checksum in version.weaker):
        listed = _listed_sizes(client, version, options)
        if listed:
            return PartSizes(listed, certain=True)
    first, count = _head_part(client, version, 1, options)
    if first is None or count is None or not 1 <= count <= MAX_PARTS:
        return None
    if count == 1:
        return PartSizes((first,), certain=True)
    last, _ = _head_part(client, version, count, options)
    if last is not None and not each and first * (count - 1) + last == version.size_bytes:
        return PartSizes((*[first] * (count - 1), last), certain=count == 2)
    numbers = range(2, count) if last is not None else ()
    between = (_head_part(client, version, number, options)[0] for number in numbers)
    sizes = [size for size in (first, *between, last) if size is not None]
    return PartSizes(tuple(sizes), certain=True) if len(sizes) == count else None


def _head_part(
    client: Any, version: ObjectVersion, number: int, options: Mapping[str, Any]
) -> tuple[int | None, int | None]:
    """Return a part's size and the number of parts, each None if the response does not give it."""
    with s3_errors(bucket=version.bucket, key=version.key, etag=version.etag):
        response = client.head_object(
            Bucket=version.bucket, Key=version.key, PartNumber=number, IfMatch=f'"{version.etag}"', **options
        )
    resource = f"part {number} of {f's3://{version.bucket}/{version.key}'!r}"
    headers = ResponseHeaders(resource, by_lower_name(response[RAW_HEADERS]))
    size = headers.content_length()
    content_range = headers.content_range()
    if size is None and content_range is not None:
        size = content_range.end - content_range.start
    return size, headers.count("x-amz-mp-parts-count")


def part_checksums(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> Sequence[PartChecksum]:
    """Return the parts with their CRC64NVME as GetObjectAttributes lists them; none if it does not list it of each.

    Args:
        client: boto3's S3 client.
        version: The object's version.
        options: Arguments added to every request.
    """
    found: list[PartChecksum] = []
    for part in _listed_parts(client, version, options):
        checksum = from_s3(CRC64NVME.name, str(part.get("ChecksumCRC64NVME", "")))
        if checksum is None:
            return ()
        found.append(PartChecksum(int(part["Size"]), checksum.value))
    return found


def _listed_sizes(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the sizes that GetObjectAttributes lists."""
    return tuple(int(part["Size"]) for part in _listed_parts(client, version, options))


def _listed_parts(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts that GetObjectAttributes lists; none if it lists none or is not permitted."""
    try:
        return list(_list_parts(client, version, options))
    except SourceChanged:
        raise
    except PermanentError:
        return []


def _list_parts(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    marker = 0
    while True:
        with s3_errors(bucket=version.bucket, key=version.key, etag=version.etag):
            response = client.get_object_attributes(
                Bucket=version.bucket,
                Key=version.key,
                ObjectAttributes=["ETag", "ObjectParts"],
                MaxParts=_PAGE_PARTS,
                PartNumberMarker=marker,
                **options,
            )
            etag = response["ETag"].strip('"')
            page = response.get("ObjectParts", {})
            parts = [{**part, "Size": int(part["Size"])} for part in page.get("Parts", ())]
            following = int(page["NextPartNumberMarker"]) if page.get("IsTruncated") else None
        if etag != version.etag:
            raise SourceChanged(bucket=version.bucket, key=version.key, etag=version.etag)
        yield from parts
        if following is None:
            return
        if not marker < following <= MAX_PARTS:
            detail = "its list of parts would never end"
            raise UnexpectedResponse(service=S3, resource=repr(version.key), detail=detail)
        marker = following
