"""The simplest program for this job: the response of a presigned GET as the body of ``upload_blob``.

usage: first_version.py BUCKET KEY CONTAINER BLOB
"""

import os
import sys

import boto3
import requests
from azure.storage.blob import BlobClient
from botocore.config import Config


def main(bucket: str, key: str, container: str, blob: str) -> None:
    """Copy one object."""
    s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    client = BlobClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], container, blob)
    with requests.get(url, stream=True, timeout=60) as response:
        response.raise_for_status()
        client.upload_blob(response, overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
