"""The example: one migration, every night at 02:00 UTC, configured by environment variables.

Copy this file for migrations of your own and write their names down instead of reading them from the environment.
Airflow looks for DAGs only in files that hold the words "airflow" and "dag"; here this sentence has both.
"""

import os

from s3_to_azure.dag import migration_dag

dag = migration_dag(
    "s3_to_azure_migration",
    source=os.environ.get("S3_TO_AZURE_SOURCE"),  # s3://bucket/prefix/
    destination=os.environ.get("S3_TO_AZURE_DESTINATION"),  # az://container/prefix
    schedule=os.environ.get("S3_TO_AZURE_SCHEDULE", "0 2 * * *") or None,  # UTC; empty: only when triggered
    aws_conn_id=os.environ.get("S3_TO_AZURE_AWS_CONN_ID", "aws_default"),
    wasb_conn_id=os.environ.get("S3_TO_AZURE_WASB_CONN_ID", "wasb_default"),
    state_container=os.environ.get("S3_TO_AZURE_STATE_CONTAINER"),  # without: in the destination's container
    pool=os.environ.get("S3_TO_AZURE_POOL", "default_pool"),
)
