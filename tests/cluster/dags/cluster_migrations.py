"""The cluster tests' DAGs; Airflow looks for DAGs only in files that hold the words "airflow" and "dag"."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from s3_to_azure.dag import migration_dag
from s3_to_azure.operators import S3ToAzureBlobStreamOperator

BUCKET = os.environ["CLUSTER_BUCKET"]
CONTAINER = os.environ["CLUSTER_CONTAINER"]
SOON = timedelta(seconds=1)

nightly = migration_dag(
    "nightly",
    source=f"s3://{BUCKET}/nightly/",
    destination=f"az://{CONTAINER}/nightly/",
    block_size="1MiB",
    task_size="1MiB",
    retry_delay=SOON,
    poke_interval=SOON,
)

with DAG("one_object", schedule=None, params={"key": "", "bandwidth_limit": ""}) as one_object:
    S3ToAzureBlobStreamOperator(
        task_id="copy",
        s3_bucket=BUCKET,
        s3_key="{{ params.key }}",
        container_name=CONTAINER,
        block_size="1MiB",
        bandwidth_limit="{{ params.bandwidth_limit }}",
        retries=2,
        retry_delay=SOON,
    )
