"""The DAG of the random orders; Airflow looks for DAGs only in files that hold the words "airflow" and "dag"."""

import os
from datetime import timedelta

from s3_to_azure.dag import migration_dag

orders = migration_dag(
    "orders",
    source=f"s3://{os.environ['ORDERS_BUCKET']}/",
    destination=f"az://{os.environ['ORDERS_CONTAINER']}/",
    # For backfills; its time does not come by itself.
    schedule="0 0 29 2 *",
    state_container=os.environ["ORDERS_STATE"],
    task_size=1,
    retries=1,
    retry_delay=timedelta(0),
    max_retry_delay=timedelta(seconds=1),
    poke_interval=timedelta(seconds=1),
    max_active_runs=100,
)
