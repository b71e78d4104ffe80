"""What differs between Airflow 2.10 and 3.3: each fallback names the versions that need it."""
# Other modules import Airflow's names from here.
# mypy: implicit-reexport
# ruff: noqa: F401

import inspect
from typing import TYPE_CHECKING, Any, Final

from s3_to_azure.model.errors import Cancelled, PermanentError, TransferError, TransientError

try:
    from airflow.sdk import (
        DAG,
        Asset,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        Param,
        get_current_context,
        task,
    )
    from airflow.sdk.bases.sensor import PokeReturnValue
    from airflow.sdk.log import mask_secret
except ImportError:  # 2.10, 2.11
    if not TYPE_CHECKING:
        from airflow import DAG
        from airflow.datasets import Dataset as Asset
        from airflow.decorators import task
        from airflow.models import BaseOperator, BaseOperatorLink, Connection, Param
        from airflow.operators.python import get_current_context
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
        from airflow.utils.context import Context
        from airflow.utils.log.secrets_masker import mask_secret
try:
    from airflow.sdk import AssetOrTimeSchedule
except ImportError:  # 2.10 to 3.1
    if not TYPE_CHECKING:
        try:
            from airflow.timetables.assets import AssetOrTimeSchedule
        except ImportError:  # 2.10, 2.11: no trigger starts a DAG
            AssetOrTimeSchedule = None
try:
    from airflow.sdk import BaseHook
except ImportError:  # 2.10 to 3.0
    if not TYPE_CHECKING:
        from airflow.hooks.base import BaseHook
try:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
    from airflow.sdk.types import TaskInstanceKey
except ImportError:  # 2.10 to 3.1
    if not TYPE_CHECKING:
        from airflow.configuration import conf
        from airflow.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )
        from airflow.models.taskinstancekey import TaskInstanceKey

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError:  # 2.10 to 3.2: `task_error` ends the retries
    RETRY_POLICY: Any = None
    """Permanent errors fail the task at once, transient ones use its ``retries``; Airflow decides about all others."""
else:
    _NEXT = "the next try sends only what Azure does not hold yet"
    _RULES = (
        (PermanentError, RetryAction.FAIL, "A retry cannot help; the error message says what to do"),
        (TransientError, RetryAction.RETRY, f"The failure may be temporary; {_NEXT}"),
        (Cancelled, RetryAction.RETRY, f"Stopped from outside; {_NEXT}"),
    )
    RETRY_POLICY = ExceptionRetryPolicy(
        rules=[RetryRule(exception=error, action=action, reason=reason) for error, action, reason in _RULES]
    )

try:
    from airflow.sdk.exceptions import AirflowRuntimeError as AirflowFailure
except ImportError:  # 2.10, 2.11: tasks read the database
    if not TYPE_CHECKING:
        from sqlalchemy.exc import SQLAlchemyError as AirflowFailure

AIRFLOW_FAILURES: Final[tuple[type[Exception], ...]] = (AirflowFailure,)
"""What a hook raises if Airflow itself fails, which says nothing about the connection."""

RETRY_BACKOFF: Final[Any] = (
    True  # 2.10 to 3.1: whether the wait doubles
    if inspect.signature(BaseOperator.__init__).parameters["retry_exponential_backoff"].annotation in {bool, "bool"}
    else 2
)
"""``retry_exponential_backoff`` that doubles the wait before each retry."""

START_IS_OPTIONAL: Final = DAG.__module__.startswith("airflow.sdk")
"""Whether a DAG needs no ``start_date``; in 2.10 and 2.11 it does."""

HAS_EVENT_TRIGGERS: Final = START_IS_OPTIONAL  # 2.10, 2.11: triggers cannot start DAGs
MIGRATION_PAGE: Final = (
    "/dags/{dag_id}/runs/{run_id}/plugin/s3_to_azure_migration"
    if BaseHook.__module__.startswith("airflow.sdk")
    else "/s3_to_azure/static/page.html?dag_id={dag_id}&run_id={run_id}"  # 3.0: its UI has no place for pages
    if START_IS_OPTIONAL
    else ""  # 2.10, 2.11
)
"""Where a run's Migration page is; empty where there is none."""


def is_missing_pool(name: str) -> bool | None:
    """Return whether there is no pool of that name; None in Airflow 3, where a task cannot ask."""
    if START_IS_OPTIONAL:
        return None
    from airflow.models.pool import Pool  # noqa: PLC0415 - the database is not for whoever parses DAGs

    return Pool.get_pool(name) is None


def stats() -> Any:  # noqa: ANN401 - a class of functions, not the same in all versions
    """Return Airflow's metrics, imported only where they are on."""
    try:
        from airflow.sdk.observability.stats import Stats  # noqa: PLC0415
    except ImportError:  # 2.10 to 3.1, and some of 3.2
        from airflow.stats import Stats  # noqa: PLC0415
    return Stats


def retry_arguments(given: Any = None) -> dict[str, Any]:  # noqa: ANN401 - a policy of any kind
    """Return the keyword for the retry policy: the given one, or ours; none where Airflow has no policies."""
    return {"retry_policy": given or RETRY_POLICY} if RETRY_POLICY is not None else {}


def task_error(error: TransferError) -> Exception:
    """Return what a task raises for the error, without the traceback through threads and SDKs.

    Without retry policies a permanent error is Airflow's own exception for a failure that no retry can help.
    """
    if RETRY_POLICY is None and isinstance(error, PermanentError):
        return AirflowFailException(f"{type(error).__name__}: {error}")
    return error.with_traceback(None)
