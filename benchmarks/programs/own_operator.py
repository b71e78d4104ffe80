"""Call ``execute`` of this project's operator; connections come from the environment.

The process ends without the interpreter's shutdown, like a task process of Airflow.

usage: own_operator.py BUCKET KEY_OR_PREFIX/ CONTAINER BLOB_OR_PREFIX
"""

import os
import sys
from types import SimpleNamespace

from s3_to_azure.operators import S3ToAzureBlobStreamOperator


def main(bucket: str, key: str, container: str, blob: str) -> None:
    """Copy one object, or all objects below a prefix."""
    is_prefix = key.endswith("/")
    operator = S3ToAzureBlobStreamOperator(
        task_id="copy",
        s3_bucket=bucket,
        container_name=container,
        s3_prefix=key if is_prefix else None,
        s3_key=None if is_prefix else key,
        blob_prefix=blob if is_prefix else "",
        blob_name=None if is_prefix else blob,
    )
    print(operator.execute({"ti": SimpleNamespace(try_number=1)}))  # type: ignore[typeddict-item]


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
