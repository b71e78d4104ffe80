"""The cost of reading a transfer's progress and of writing it to Airflow: a task in real Airflow that does only this.

Task, supervisor, API server and SQLite are this one process (``DAG.test``), so the whole cost of a write is counted.

usage: progress.py READS WRITES
"""
# ruff: noqa: PLC0415 - Airflow reads its settings when it is imported

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(reads: int, writes: int) -> None:
    """Run the task in an Airflow of its own."""
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(home) / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }
        _run(reads, writes)


def _run(reads: int, writes: int) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG, get_current_context, task
    from airflow.utils.db import initdb

    from s3_to_azure.airflow.progress import PROGRESS_KEY, ProgressReporter, progress_line
    from s3_to_azure.model.progress import Progress

    initdb()
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]

    with DAG("progress", schedule=None) as dag:

        @task
        def report() -> None:
            store: Any = get_current_context()["task_state_store"]
            progress = Progress()
            progress.add(objects_total=100_000, bytes_total=2**40)
            reporter = ProgressReporter(progress, store=store)
            for _ in range(reads):
                progress.add(bytes_sent=2**20)
                logging.getLogger("s3_to_azure").debug("%s", progress_line(reporter.snapshot()))
            for _ in range(writes):
                reporter.close()
            if writes and not store.get(PROGRESS_KEY):
                raise SystemExit("Airflow stored no progress.")

        report()
    bag = DagBag(collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    run = dag.test()
    if str(run.state) != "success":
        raise SystemExit(f"The task ended as {run.state}.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
