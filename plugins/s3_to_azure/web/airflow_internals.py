"""Everything that the pages use of Airflow beyond its public interface, in one place.

Any release of Airflow may move these names; ``tests/web/test_airflow_internals.py`` shows which ones.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from airflow.models.task_state_store import TaskStateStoreModel
else:
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
    except ImportError:  # 3.0 to 3.2: tasks leave their progress in an XCom
        TaskStateStoreModel = None

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
    "may_act",
    "may_read_results",
    "readable_dags",
    "requires_access_dag",
]

SHOWN_ENTITIES = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""The parts of a DAG that the pages show, which a user must be allowed to read."""

_ACTIONS: Final[dict[str, tuple[ResourceMethod, DagAccessEntity]]] = {
    "clear": ("PUT", DagAccessEntity.TASK_INSTANCE),
    "trigger": ("POST", DagAccessEntity.RUN),
}
"""What Airflow's own API asks before it clears a run's tasks or starts a run; the page offers both."""


def readable_dags(user: BaseUser, session: Session) -> set[str]:
    """Return the ids of the DAGs that the user may read."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session)


def may_act(user: BaseUser, dag_id: str) -> dict[str, bool]:
    """Return whether the user may clear the DAG's tasks, and start a run of it: only to say so, Airflow decides."""
    manager = get_auth_manager()
    details = DagDetails(id=dag_id, **_teams([dag_id]).get(dag_id, {}))
    return {
        action: manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user)
        for action, (method, entity) in _ACTIONS.items()
    }


def may_read_results(user: BaseUser, dag_ids: Iterable[str]) -> set[str]:
    """Return the ids of those DAGs whose task instances and XComs the user may read."""
    manager = get_auth_manager()
    wanted = sorted(set(dag_ids))
    teams = _teams(wanted)
    return {
        dag_id
        for dag_id in wanted
        if all(
            manager.is_authorized_dag(
                method="GET",
                access_entity=entity,
                details=DagDetails(id=dag_id, **teams.get(dag_id, {})),
                user=user,
            )
            for entity in SHOWN_ENTITIES
        )
    }


def _teams(dag_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the fields of ``DagDetails`` that say which team a DAG belongs to, for each DAG that has one."""
    # All in one query: one per DAG would make the history slower with each DAG.
    teams = getattr(DagModel, "get_dag_id_to_team_name_mapping", None)
    if teams is None:  # 3.1: there are no teams
        return {}
    return {dag_id: {"team_name": name} for dag_id, name in teams(dag_ids).items()}
