"""The demo's last migration: objects are copied as S3 announces them. An Airflow DAG file like any other."""

import os

from s3_to_azure.dag import migration_dag

dag = migration_dag(
    "announced",
    source=os.environ.get("DEMO_ANNOUNCED_SOURCE"),
    destination=os.environ.get("DEMO_ANNOUNCED_DESTINATION"),
    events=os.environ.get("DEMO_ANNOUNCED_QUEUE"),
)
