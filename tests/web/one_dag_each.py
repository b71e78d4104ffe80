"""An auth manager for tests: the user ``reader_of_x`` may read only the DAG ``x``, ``reader_of_all`` every DAG.

The user ``operator_of_x`` may also change it.
"""

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

NO_RESULTS = "no_results"
"""The reader of this DAG may read its runs, but not its XComs."""


READER_OF_ALL = "reader_of_all"
"""This user may read every DAG."""


class OneDagEach(SimpleAuthManager):
    """Airflow's simple auth manager, with permissions for single DAGs as production's auth managers have."""

    def is_authorized_dag(
        self,
        *,
        method: Any,
        user: SimpleAuthManagerUser,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """Return whether the user may read the DAG."""
        dag_id = details.id if details else None
        if access_entity is DagAccessEntity.XCOM and dag_id == NO_RESULTS:
            return False
        if user.username == f"operator_of_{dag_id}":
            return True
        return method == "GET" and (dag_id is None or user.username in (f"reader_of_{dag_id}", READER_OF_ALL))
