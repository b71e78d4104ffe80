"""The DAGs of the random orders; Airflow looks for DAGs only in files that hold the words "airflow" and "dag"."""

import os
from datetime import timedelta
from typing import Any

from s3_to_azure.dag import migration_dag

STORES: dict[str, Any] = {
    "source": f"s3://{os.environ['ORDERS_BUCKET']}/",
    "destination": f"az://{os.environ['ORDERS_CONTAINER']}/",
    "state_container": os.environ["ORDERS_STATE"],
    "poke_interval": timedelta(seconds=1),
}

orders = migration_dag(
    "orders",
    # For backfills; its time does not come by itself.
    schedule="0 0 29 2 *",
    task_size=1,
    retries=1,
    retry_delay=timedelta(0),
    max_retry_delay=timedelta(seconds=1),
    max_active_runs=100,
    **STORES,
)

late = migration_dag("late", dagrun_timeout=timedelta(seconds=10), retries=0, **STORES)
