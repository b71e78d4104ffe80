"""What the pages take from inside Airflow is still there, and does what they rely on."""

import inspect
from typing import Any

from sqlalchemy import inspect as columns_of

from s3_to_azure.web import airflow_internals
from s3_to_azure.web.airflow_internals import (
    DagAccessEntity,
    DagRun,
    TaskInstance,
    TaskStateStoreModel,
    XComModel,
    requires_access_dag,
)


def test_every_name_is_there() -> None:
    """Each internal name can be imported: a new release of Airflow that moves one fails here, by its name."""
    for name in airflow_internals.__all__:
        assert hasattr(airflow_internals, name)


def test_the_columns_are_there() -> None:
    """Each column that the pages read has its name still."""
    wanted: dict[Any, set[str]] = {
        DagRun: {"id", "dag_id", "run_id", "state", "start_date", "end_date"},
        TaskInstance: {"task_id", "map_index", "operator", "state", "try_number", "max_tries", "rendered_map_index"},
        TaskStateStoreModel: {"dag_run_id", "task_id", "map_index", "key", "value", "updated_at"},
        XComModel: {"dag_run_id", "dag_id", "run_id", "task_id", "map_index", "key", "value"},
    }
    for model, names in wanted.items():
        assert names <= {column.key for column in columns_of(model).columns}


def test_access_is_asked_by_dag() -> None:
    """The check that guards the routes takes the DAG's id from the path before anything else."""
    source = inspect.getsource(requires_access_dag("GET", DagAccessEntity.XCOM))
    assert 'request.path_params.get("dag_id") or' in source
