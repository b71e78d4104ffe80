"""Real Airflow for these tests: a home and a SQLite database of their own, migrated once.

Airflow reads its settings when it is imported, so they are set when pytest loads this file, before any test module.
"""

# ruff: noqa: PLC0415 - Airflow may be imported only once its settings are made

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.servers import LocalAzure, LocalS3

_HOME = Path(tempfile.mkdtemp(prefix="airflow-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
(_HOME / "dags").mkdir()
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(_HOME / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME / 'airflow.db'}",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(_HOME / "logs"),
)

AWS = "aws_local"
WASB = "wasb_local"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore deprecations inside Airflow, open sockets of a task that was stopped, and one test's DAG in another's."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))
            if item.path.name != "test_overlapping_dags.py":
                item.add_marker(pytest.mark.filterwarnings("ignore:.* can write the same blobs:UserWarning"))


@pytest.fixture(scope="session", autouse=True)
def _airflow_database() -> Iterator[None]:
    """Create Airflow's tables, and the bundle for the tests' DAGs."""
    from airflow import settings
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    yield
    settings.dispose_orm()


@pytest.fixture
def connections(s3_server: LocalS3, azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Set Airflow connections to the local servers; return the operator's arguments that name them."""
    aws = {
        "conn_type": "aws",
        "login": s3_server.access_key,
        "password": s3_server.secret_key,
        "extra": {
            "endpoint_url": s3_server.endpoint_url,
            "region_name": s3_server.region,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    wasb = {"conn_type": "wasb", "extra": {"connection_string": azure_server.connection_string}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", json.dumps(aws))
    monkeypatch.setenv(f"AIRFLOW_CONN_{WASB.upper()}", json.dumps(wasb))
    return {"aws_conn_id": AWS, "wasb_conn_id": WASB}


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that defines an Airflow connection and returns its id."""

    def define(conn_type: str, **fields: Any) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_DEFINED", json.dumps({"conn_type": conn_type, **fields}))
        return "defined"

    return define


@pytest.fixture
def statsd() -> Iterator[Callable[[], list[str]]]:
    """Return a function that returns the lines that Airflow has sent to its StatsD server, which runs meanwhile."""
    from tests.airflow.statsd_listener import listening

    with pytest.MonkeyPatch.context() as patch, listening(patch) as received:
        yield received
