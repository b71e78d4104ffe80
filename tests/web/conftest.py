"""Real Airflow for the pages' tests: its database, its API server's application, and users who may read one DAG each.

Airflow reads its settings when it is imported, so they are set when pytest loads this file; where other tests have
imported it already, theirs serve as well.
"""
# ruff: noqa: PLC0415 - Airflow may be imported only once its settings are made

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if "airflow" not in sys.modules:
    _HOME = Path(tempfile.mkdtemp(prefix="airflow-web-"))
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

# Imported once, without the warnings by which its dependencies deprecate each other.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import airflow.api_fastapi.app  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore the deprecations inside Airflow and its dependencies."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[None]:
    """Make Airflow's tables."""
    from airflow import settings
    from airflow.utils.db import initdb

    initdb()
    yield
    settings.dispose_orm()


@pytest.fixture
def session(airflow_database: None) -> Iterator[Any]:
    """Return a session on the database, which holds no DAG of an earlier test."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dagrun import DagRun
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        for model in (XComModel, TaskStateStoreModel, TaskInstance, DagRun, DagTag, DagModel):
            session.execute(delete(model))
        session.commit()
        yield session


@pytest.fixture(scope="session")
def api_server(airflow_database: None) -> Iterator[Any]:
    """Return Airflow's own application with the plugin in it, and an auth manager with permissions for single DAGs."""
    from airflow import plugins_manager
    from airflow.api_fastapi.app import create_app, purge_cached_app

    from s3_to_azure.plugin import S3ToAzurePlugin

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.web.one_dag_each.OneDagEach")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "for-these-tests-only" * 4)
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "reader_of_mine:viewer,reader_of_other:viewer")
        apps = [app["name"] for app in plugins_manager.get_fastapi_plugins()[0]]
        assert apps == [app["name"] for app in S3ToAzurePlugin.fastapi_apps]
        purge_cached_app()
        yield create_app("core")
        purge_cached_app()


@pytest.fixture
def client_of(api_server: Any) -> Any:
    """Return a function that gives a client with a user's token, or (None) with no token at all."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def client(username: str | None) -> TestClient:
        headers = {}
        if username:
            token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=username, role="VIEWER"))
            headers["Authorization"] = f"Bearer {token}"
        return TestClient(api_server, headers=headers)

    return client
