"""This project's operator, its ``execute`` called in a plain process; connections come from the environment.

It ends as Airflow's task process does, without taking the interpreter down module by module.

usage: own_operator.py BUCKET KEY_OR_PREFIX/ CONTAINER BLOB_OR_PREFIX
"""

import os
import sys
from types import SimpleNamespace

from s3_to_azure.operators import S3ToAzureBlobStreamOperator


def main(bucket: str, key: str, container: str, blob: str) -> None:
    """Copy one key, or all below a prefix."""
    below = key.endswith("/")
    operator = S3ToAzureBlobStreamOperator(
        task_id="copy",
        s3_bucket=bucket,
        container_name=container,
        s3_prefix=key if below else None,
        s3_key=None if below else key,
        blob_prefix=blob if below else "",
        blob_name=None if below else blob,
    )
    print(operator.execute({"ti": SimpleNamespace(try_number=1)}))  # type: ignore[typeddict-item]


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
