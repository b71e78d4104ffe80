"""Uploads to a local S3 that allow exactly one verification level."""

import base64
import hashlib
import random
from collections.abc import Sequence
from typing import Any

from s3_to_azure.model.limits import MIB

CUSTOMER_KEY = hashlib.sha256(b"a customer's key").digest()


def some_bytes(size_bytes: int, seed: int = 1) -> bytes:
    """Return random bytes, the same for each seed."""
    return random.Random(seed).randbytes(size_bytes)


def customer_key_arguments() -> dict[str, str]:
    """Return boto3's arguments for SSE-C."""
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64encode(CUSTOMER_KEY).decode(),
        "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(CUSTOMER_KEY).digest()).decode(),
    }


def put(client: Any, bucket: str, key: str, data: bytes, **arguments: Any) -> None:
    """Upload the object in one request."""
    client.put_object(Bucket=bucket, Key=key, Body=data, **arguments)


def put_parts(client: Any, bucket: str, key: str, data: bytes, sizes: Sequence[int], **arguments: Any) -> None:
    """Upload the object in parts of these sizes; the last part has the rest."""
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, **arguments)["UploadId"]
    algorithm = {name: value for name, value in arguments.items() if name == "ChecksumAlgorithm"}
    parts, start = [], 0
    for number, size in enumerate([*sizes, len(data) - sum(sizes)], start=1):
        answer = client.upload_part(
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=data[start : start + size],
            **algorithm,
        )
        start += size
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **(sums if algorithm else {})})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def upload_for(level: str, client: Any, bucket: str, key: str, data: bytes) -> None:
    """Upload the object so that ``level`` is the strongest that S3's answer allows.

    SHA-256 stands for an upload before the end of 2024: S3 stores no CRC for it, so only the ETag can be used.
    """
    halves = [len(data) // 2 + 3]
    composite = {"ChecksumType": "COMPOSITE"}
    match level:
        case "crc64nvme" | "crc32c" | "crc32":
            put(client, bucket, key, data, ChecksumAlgorithm=level.upper())
        case "crc32c_composite" | "crc32_composite":
            name = level.removesuffix("_composite").upper()
            put_parts(client, bucket, key, data, halves, ChecksumAlgorithm=name, **composite)
        case "md5":
            put(client, bucket, key, data, ChecksumAlgorithm="SHA256")
        case "md5_composite":
            parts = [5 * MIB] * ((len(data) - 1) // (5 * MIB))
            put_parts(client, bucket, key, data, parts, ChecksumAlgorithm="SHA256", **composite)
        case _:
            raise AssertionError(level)
