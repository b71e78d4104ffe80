"""Fill the compose demo's S3 with the samples, and make the container that they will be copied to.

Endpoints and keys come from the environment. It may run again: the samples are the same bytes each time.
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
    """Upload the samples whose names Azure can hold, and make the container."""
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
