"""The internal names of Airflow that the pages use exist, and behave as the pages need."""

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
    """A release of Airflow that moves a name fails here, and the name shows."""
    for name in airflow_internals.__all__:
        assert hasattr(airflow_internals, name)


def test_the_columns_are_there() -> None:
    """Each column that the pages read exists."""
    wanted: dict[Any, set[str]] = {
        DagRun: {"id", "dag_id", "run_id", "state", "start_date", "end_date"},
        TaskInstance: {"task_id", "map_index", "operator", "state", "try_number", "max_tries", "rendered_map_index"},
        TaskStateStoreModel: {"dag_run_id", "task_id", "map_index", "key", "value", "updated_at"},
        XComModel: {"dag_run_id", "dag_id", "run_id", "task_id", "map_index", "key", "value"},
    }
    for model, names in wanted.items():
        assert names <= {column.key for column in columns_of(model).columns}


def test_access_is_checked_by_the_dag_in_the_path() -> None:
    """The check of the routes takes the DAG's id from the path first."""
    source = inspect.getsource(requires_access_dag("GET", DagAccessEntity.XCOM))
    assert 'request.path_params.get("dag_id") or' in source
