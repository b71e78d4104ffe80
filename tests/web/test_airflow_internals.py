"""The internal names of Airflow that the pages use exist, and behave as the pages need."""

import inspect
from typing import Any

import pytest
from airflow.models.dag import DagModel
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


def test_permissions_are_asked_without_teams_where_airflow_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.1 knows no team of a DAG, and 3.0's details have no such field."""
    asked: list[Any] = []

    class Manager:
        def is_authorized_dag(self, **arguments: Any) -> bool:
            asked.append(arguments["details"])
            return True

    monkeypatch.delattr(DagModel, "get_dag_id_to_team_name_mapping")
    monkeypatch.setattr(airflow_internals, "get_auth_manager", Manager)
    monkeypatch.setattr(airflow_internals, "DagDetails", dict)
    assert airflow_internals.may_read_results(None, ["one"]) == {"one"}  # type: ignore[arg-type]
    assert asked == [{"id": "one"}] * 2
