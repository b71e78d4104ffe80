"""Run a DAG in the demo's Airflow, and read its receipts."""

import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from azure.storage.blob import ContainerClient
from rich.console import Console

from demo.airflow_instance import Airflow

STATE: Final = "_s3_to_azure/"
_PARSE_S: Final = 60.0
_RUN_S: Final = 240.0
_POLL_S: Final = 1.0
_ENDED: Final = ("success", "failed")

Tasks = list[dict[str, Any]]


class DemoError(RuntimeError):
    """The migration did not do what the demo promises."""


def wait_for_dag(airflow: Airflow, dag_id: str) -> None:
    """Wait until Airflow has parsed the DAG, and unpause it."""
    deadline = time.monotonic() + _PARSE_S
    while not any(dag["dag_id"] == dag_id for dag in airflow.get("dags")["dags"]):
        if time.monotonic() > deadline:
            raise DemoError(f"Airflow does not show the DAG {dag_id}: {airflow.get('importErrors')}")
        time.sleep(_POLL_S)
    airflow.unpause(dag_id)


def run_dag(
    airflow: Airflow,
    console: Console,
    dag_id: str,
    conf: Mapping[str, object],
    *,
    state: str = "success",
    show: Callable[[str, str, Tasks], None] = lambda _run_id, _summary, _tasks: None,
) -> str:
    """Trigger a run, wait for its end, and return its id.

    Args:
        airflow: The running Airflow.
        console: The console to print to.
        dag_id: The DAG.
        conf: The run's Params.
        state: The state in which the run must end.
        show: Takes the run's id, a summary of its tasks' states, and the tasks, about once per second.

    Raises:
        DemoError: The run ends in another state, or not in time.
    """
    run_id = airflow.trigger(dag_id, conf)
    console.print(f"Triggered {dag_id}: {run_id}")
    deadline = time.monotonic() + _RUN_S
    printed = ""
    while (now := airflow.state(dag_id, run_id)) not in _ENDED:
        if time.monotonic() > deadline:
            raise DemoError(f"The run is still {now} after {_RUN_S:.0f} s (log: {airflow.log})")
        tasks = airflow.task_instances(dag_id, run_id)
        summary = _summary(tasks)
        show(run_id, summary, tasks)
        if summary != printed and not console.is_terminal:
            console.print(f"  {summary}")
        printed = summary
        time.sleep(_POLL_S)
    if now != state:
        raise DemoError(f"The run ended as {now}: {_summary(airflow.task_instances(dag_id, run_id))}")
    return run_id


def receipts_of(container: ContainerClient, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the run's receipts from the file that the report wrote into the state container."""
    for name in _reports(container, dag_id, run_id):
        lines = gzip.decompress(container.download_blob(name).readall()).splitlines()
        return [json.loads(line) for line in lines]
    raise DemoError(f"The run {run_id} wrote no receipts below {STATE}{dag_id}/")


def _reports(container: ContainerClient, dag_id: str, run_id: str) -> Iterator[str]:
    from s3_to_azure.model.names import id_of  # noqa: PLC0415 - the demo starts without the SDKs

    for name in container.list_blob_names(name_starts_with=f"{STATE}{dag_id}/"):
        if name.endswith("/receipts.jsonl.gz") and id_of(name.split("/")[2]) == run_id:
            yield name


def _summary(tasks: Tasks) -> str:
    """Return each task's state; of mapped tasks, how many have ended."""
    states = []
    for task_id in ("wait_for_objects", "plan", "copy", "report"):
        instances = [task for task in tasks if task["task_id"] == task_id]
        if len(instances) > 1:
            ended = sum(task["state"] in ("success", "failed") for task in instances)
            states.append(f"{task_id} {ended}/{len(instances)}")
        else:
            states.append(f"{task_id} {(instances[0]['state'] if instances else None) or '-'}")
    return " · ".join(states)
