"""Examples: one Airflow task for each object, in a dag of your own.

Mapping suits some hundreds of objects that deserve a task each. For many objects use ``migration_dag``, which divides
them into batches, needs no list of keys in Airflow's database, and reports on all of them.
"""

import os

from airflow.providers.amazon.aws.operators.s3 import S3ListOperator
from airflow.sdk import DAG

from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor

BUCKET = os.environ.get("EXAMPLE_BUCKET", "exports")
CONTAINER = os.environ.get("EXAMPLE_CONTAINER", "archive")

with DAG("copy_what_the_sensor_lists", schedule=None, tags=["example"]):
    sensor = S3ObjectsSensor(task_id="wait", bucket_name=BUCKET, prefix="daily/")
    # Each blob is named as its key.
    S3ToAzureBlobStreamOperator.partial(task_id="copy", s3_bucket=BUCKET, container_name=CONTAINER).expand(
        s3_key=sensor.keys()
    )

with DAG("copy_what_airflow_lists", schedule=None, tags=["example"]):
    list_keys = S3ListOperator(task_id="list_keys", bucket=BUCKET, prefix="daily/")
    S3ToAzureBlobStreamOperator.partial(task_id="copy", s3_bucket=BUCKET, container_name=CONTAINER).expand(
        s3_key=list_keys.output
    )


def to_another_folder(key: str) -> dict[str, str]:
    """Return the arguments of one task: the key, and the blob's name below another prefix."""
    return {"s3_key": key, "blob_name": "copies/" + key.removeprefix("daily/")}


with DAG("copy_to_another_folder", schedule=None, tags=["example"]):
    renamed = S3ObjectsSensor(task_id="wait", bucket_name=BUCKET, prefix="daily/")
    S3ToAzureBlobStreamOperator.partial(task_id="copy", s3_bucket=BUCKET, container_name=CONTAINER).expand_kwargs(
        renamed.keys().map(to_another_folder)
    )
