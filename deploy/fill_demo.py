"""Fill the S3 of the compose demo with the samples, and create the container that they are copied to.

Endpoints and keys come from the environment. The program may run again, because the samples never change.
"""

import os
import sys
from typing import Final

import boto3
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

from demo.samples import samples, upload

_BUCKET: Final = "demo-source"
_PREFIX: Final = "nightly/"
_CONTAINER: Final = "demo-destination"


def main() -> None:
    """Upload the samples whose names Azure accepts, and create the container."""
    wanted = [sample for sample in samples(_PREFIX) if not sample.refused]
    upload(boto3.client("s3", config=Config(s3={"addressing_style": "path"})), _BUCKET, wanted)
    service = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
    try:
        service.create_container(_CONTAINER)
    except ResourceExistsError:
        pass
    total = sum(sample.size_bytes for sample in wanted)
    sys.stdout.write(f"Filled s3://{_BUCKET}/{_PREFIX} with {len(wanted)} objects, {total:,} bytes.\n")


if __name__ == "__main__":
    main()
