"""A run of a DAG in the demo's Airflow: triggered, followed to its end, and its receipts read."""

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
    """The demo did not show what it promises."""


def wait_for_dag(airflow: Airflow, dag_id: str) -> None:
    """Wait until Airflow has parsed the DAG, and let its runs begin."""
    deadline = time.monotonic() + _PARSE_S
    while not any(dag["dag_id"] == dag_id for dag in airflow.get("dags")["dags"]):
        if time.monotonic() > deadline:
            raise DemoError(f"Airflow does not show the DAG {dag_id}: {airflow.get('importErrors')}")
        time.sleep(_POLL_S)
    airflow.unpause(dag_id)


def followed(
    airflow: Airflow,
    console: Console,
    dag_id: str,
    conf: Mapping[str, object],
    *,
    state: str = "success",
    show: Callable[[str, str, Tasks], None] = lambda _run_id, _words, _tasks: None,
) -> str:
    """Trigger a run, follow it to its end, and return its id.

    Args:
        airflow: Where.
        console: Where to tell of it.
        dag_id: Which DAG.
        conf: The run's Params.
        state: How it must end.
        show: Takes the run's id, how far it is in words, and its tasks, about once a second.

    Raises:
        DemoError: It ends otherwise, or not in time.
    """
    run_id = airflow.trigger(dag_id, conf)
    console.print(f"Triggered {dag_id}: {run_id}")
    deadline = time.monotonic() + _RUN_S
    told = ""
    while (now := airflow.state(dag_id, run_id)) not in _ENDED:
        if time.monotonic() > deadline:
            raise DemoError(f"the run is still {now} after {_RUN_S:.0f} s (log: {airflow.log})")
        tasks = airflow.task_instances(dag_id, run_id)
        words = _words(tasks)
        show(run_id, words, tasks)
        if words != told and not console.is_terminal:
            console.print(f"  {words}")
        told = words
        time.sleep(_POLL_S)
    if now != state:
        raise DemoError(f"the run ended as {now}: {_words(airflow.task_instances(dag_id, run_id))}")
    return run_id


def receipts_of(container: ContainerClient, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the run's receipts as the report left them in the state container."""
    for name in _reports(container, dag_id, run_id):
        lines = gzip.decompress(container.download_blob(name).readall()).splitlines()
        return [json.loads(line) for line in lines]
    raise DemoError(f"the run {run_id} left no receipts below {STATE}{dag_id}/")


def _reports(container: ContainerClient, dag_id: str, run_id: str) -> Iterator[str]:
    from s3_to_azure.stores.azure.state import id_of  # noqa: PLC0415 - the SDKs are loaded by now

    for name in container.list_blob_names(name_starts_with=f"{STATE}{dag_id}/"):
        if name.endswith("/receipts.jsonl.gz") and id_of(name.split("/")[2]) == run_id:
            yield name


def _words(tasks: Tasks) -> str:
    """Say how far a run is: each task's state, the mapped one's counted."""
    told = []
    for task_id in ("wait_for_objects", "plan", "copy", "report"):
        mine = [task for task in tasks if task["task_id"] == task_id]
        if len(mine) > 1:
            ended = sum(task["state"] in ("success", "failed") for task in mine)
            told.append(f"{task_id} {ended}/{len(mine)}")
        else:
            told.append(f"{task_id} {(mine[0]['state'] if mine else None) or '-'}")
    return " · ".join(told)
