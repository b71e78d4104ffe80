"""Airflow's own operator, its ``execute`` called in a plain process; connections come from the environment.

It ends as Airflow's task process does, without taking the interpreter down module by module.

usage: airflow_operator.py BUCKET KEY_OR_PREFIX/ CONTAINER BLOB_OR_PREFIX
"""

import os
import sys

from airflow.providers.microsoft.azure.transfers.s3_to_wasb import S3ToAzureBlobStorageOperator


def main(bucket: str, key: str, container: str, blob: str) -> None:
    """Copy one key, or all below a prefix."""
    below = key.endswith("/")
    operator = S3ToAzureBlobStorageOperator(
        task_id="copy",
        s3_bucket=bucket,
        container_name=container,
        s3_prefix=key if below else None,
        s3_key=None if below else key,
        blob_prefix=blob if below else None,
        blob_name=None if below else blob,
        replace=True,
    )
    print(len(operator.execute({})))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
