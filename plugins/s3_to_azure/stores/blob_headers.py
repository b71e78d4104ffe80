"""The headers of a Put Blob: metadata, content headers, condition, tags and tier, as the REST API names them."""

from urllib.parse import quote

from s3_to_azure.model.objects import BlobContents, Condition


def put_blob_headers(contents: BlobContents, condition: Condition) -> dict[str, str]:
    """Return them by name; https://learn.microsoft.com/rest/api/storageservices/put-blob.

    The MD5 is left out: Azure takes none beside a CRC64, and computes and keeps the MD5 of a Put Blob itself.
    """
    given = contents.headers
    given_or_none = (
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-type", given.content_type),
        ("x-ms-blob-content-encoding", given.content_encoding),
        ("x-ms-blob-content-language", given.content_language),
        ("x-ms-blob-content-disposition", given.content_disposition),
        ("x-ms-blob-cache-control", given.cache_control),
        ("x-ms-access-tier", contents.tier),
    )
    headers = {name: value for name, value in given_or_none if value}
    if contents.tags:
        headers["x-ms-tags"] = "&".join([f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in contents.tags.items()])
    if condition.etag is None:
        headers["If-None-Match"] = "*"
    else:
        headers["If-Match"] = f'"{condition.etag}"'
    for name, value in contents.metadata.items():
        headers[f"x-ms-meta-{name}"] = value
    return headers
