"""Everything that the pages use of Airflow beyond its public interface, in one place.

Any release of Airflow may move these names; ``tests/web/test_airflow_internals.py`` shows which ones.
"""

from collections.abc import Iterable

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy.orm import Session

__all__ = [
    "DagAccessEntity",
    "DagRun",
    "DagTag",
    "GetUserDep",
    "Pool",
    "SessionDep",
    "TaskInstance",
    "TaskStateStoreModel",
    "XComModel",
    "may_read_results",
    "readable_dags",
    "requires_access_dag",
]

SHOWN_ENTITIES = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""The parts of a DAG that the pages show, which a user must be allowed to read."""


def readable_dags(user: BaseUser, session: Session) -> set[str]:
    """Return the ids of the DAGs that the user may read."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session)


def may_read_results(user: BaseUser, dag_ids: Iterable[str]) -> set[str]:
    """Return the ids of those DAGs whose task instances and XComs the user may read."""
    manager = get_auth_manager()
    wanted = sorted(set(dag_ids))
    # All in one query: one per DAG would make the history slower with each DAG.
    teams = DagModel.get_dag_id_to_team_name_mapping(wanted)
    return {
        dag_id
        for dag_id in wanted
        if all(
            manager.is_authorized_dag(
                method="GET",
                access_entity=entity,
                details=DagDetails(id=dag_id, team_name=teams.get(dag_id)),
                user=user,
            )
            for entity in SHOWN_ENTITIES
        )
    }
