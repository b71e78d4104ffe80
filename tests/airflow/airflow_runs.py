"""Runs a DAG in real Airflow, and reads the results from its database."""

from dataclasses import dataclass
from typing import Any

from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, BaseOperatorLink
from airflow.utils.session import create_session
from sqlalchemy import select


@dataclass(frozen=True)
class Task:
    """One finished task instance."""

    state: str
    try_number: int
    label: str | None
    xcom: Any


@dataclass(frozen=True)
class Run:
    """A finished run: its state, and its task instances by ``task_id``, in the order of their map index."""

    state: str
    run_id: str
    tasks: dict[str, list[Task]]

    def only(self, task_id: str) -> Task:
        """Return the task's one instance."""
        (task,) = self.tasks[task_id]
        return task


def run_dag(dag: DAG, conf: dict[str, Any] | None = None) -> Run:
    """Store the DAG in Airflow's database and run it to its end in this process."""
    bag = DagBag(collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    return _look_at(dag.test(run_conf=conf))


def asset_events(run: Run) -> list[str]:
    """Return the URIs of the assets that the run updated."""
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id))
        return [str(event.uri) for event in events]


def asset_counts(run: Run) -> list[dict[str, Any]]:
    """Return what the events of the assets say that the run updated."""
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id))
        return [dict(event.extra) for event in events]


def link_of(run: Run, task_id: str, link: BaseOperatorLink) -> str:
    """Return the address of a link of a finished task's first instance."""
    with create_session() as session:
        row = session.scalars(XComModel.get_many(run_id=run.run_id, key=link.xcom_key, task_ids=task_id)).first()
        return str(XComModel.deserialize_value(row)) if row else ""


def xcom_of(run: Run, task_id: str, key: str) -> Any:
    """Return what a finished task's first instance has left under a key; None if it has left nothing."""
    with create_session() as session:
        row = session.scalars(XComModel.get_many(run_id=run.run_id, key=key, task_ids=task_id)).first()
        return XComModel.deserialize_value(row) if row else None


def _look_at(dag_run: DagRun) -> Run:
    tasks: dict[str, list[Task]] = {}
    with create_session() as session:
        for instance in sorted(dag_run.get_task_instances(session=session), key=lambda one: one.map_index):
            xcom = XComModel.get_many(
                run_id=dag_run.run_id,
                key="return_value",
                task_ids=instance.task_id,
                dag_ids=dag_run.dag_id,
                map_indexes=instance.map_index,
            )
            row = session.scalars(xcom).first()
            tasks.setdefault(instance.task_id, []).append(
                Task(
                    state=str(instance.state),
                    try_number=instance.try_number,
                    label=instance.rendered_map_index,
                    xcom=XComModel.deserialize_value(row) if row else None,
                )
            )
        return Run(str(dag_run.state), dag_run.run_id, tasks)
