"""The task of a migration that compares both sides by their listings and records, once in a period."""

import json
import logging
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from s3_to_azure.airflow.azure_hook import announced_keys
from s3_to_azure.airflow.compat import AirflowSkipException, Context
from s3_to_azure.airflow.failure_log import log_groups
from s3_to_azure.airflow.jobs import Endpoints, open_transfer
from s3_to_azure.airflow.listing import ReportPlace
from s3_to_azure.airflow.migration.dag_tasks import RunSettings, plan_settings, stop_of
from s3_to_azure.airflow.migration.run_state import COMPARE_KEY, is_started_by_hand, try_number_of
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import CorruptState, PermanentError
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import FailureGroups, explained
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.runs.compare import Comparison, compare_listings
from s3_to_azure.runs.standing import DRIFT, EXTRA, Difference
from s3_to_azure.state.formats import with_version
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, run_stoppable

COMPARISONS: Final = "~comparisons"
"""The folder, in place of a DAG's, in which each DAG notes its last comparison; no DAG id has a tilde."""

_LAST: Final = "last.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """What the DAG's author has set for comparisons.

    Attributes:
        every: One comparison in each period of this length.
        s3_arguments: As those of ``Endpoints``.
        checksums_from: The address of a checksum report; empty: there is none.
    """

    every: timedelta
    bucket: str
    aws_conn_id: str | None
    s3_arguments: Mapping[str, Any]
    checksums_from: str = ""


@raises_task_errors
def compare_run(settings: RunSettings, compare: CompareSettings, context: Context) -> dict[str, Any]:
    """Compare what the run copies with what is in Azure now; return the result's summary.

    A run compares if no comparison of its period has succeeded, so one that fails is repeated. Both sides are listed
    now. What S3 received since the run began is left out: this run may not have copied it.

    Raises:
        AirflowSkipException: No comparison is due, or the run is a dry run.
        Cancelled: The task was killed.
        PermanentError: Objects are missing, stale or changed in Azure.
    """
    params = context["params"]
    if params["dry_run"]:
        raise AirflowSkipException("Dry run: there is nothing to compare")
    container = settings.state_container or settings.container
    began = context["dag_run"].start_date
    with closing(settings.service(context)) as service:
        if not _last(service, container, context).is_due(context["ti"].run_id, began, compare.every):
            raise AirflowSkipException(f"The last comparison is of this period of {compare.every}")
    how = plan_settings(settings, params, began=began)
    if began is not None:
        before = how.filters.modified_before
        how = replace(how, filters=replace(how.filters, modified_before=min(before, began) if before else began))
    prefix = settings.s3_prefix + (params.get("prefix") or "")
    endpoints = Endpoints(
        compare.bucket, settings.container, compare.aws_conn_id, settings.wasb_conn_id, compare.s3_arguments
    )
    report = ReportPlace(
        compare.checksums_from,
        compare.aws_conn_id,
        compare.s3_arguments.get("verify"),
        compare.s3_arguments.get("hook_arguments") or {},
    )
    drift = _Drift()
    copying = CopySettings(connections=1, objects_at_once=defaults.LOOKED_AT_AT_ONCE, refused_names=how.refused_names)
    stop = stop_of(context)
    with (
        open_transfer(endpoints, copying, stop, worked_before=try_number_of(context) > 1) as opened,
        TemporaryState() as files,
    ):
        transfer = opened.context
        announced = announced_keys(opened.service, container, context["ti"].dag_id) if settings.has_events else None

        log.info(
            "Comparing s3://%s/%s with az://%s/%s", compare.bucket, prefix, settings.container, settings.blob_prefix
        )

        def compare_all() -> Comparison:
            with report.opened(transfer.retrier, bucket=compare.bucket, prefix=prefix) as found:
                pointer = write_manifest(
                    transfer.source.list(compare.bucket, prefix),
                    files,
                    bucket=compare.bucket,
                    prefix=prefix,
                    retrier=transfer.retrier,
                    completed=found.complete if found else None,
                )
            return compare_listings(transfer, files, pointer, how, announced=announced, on_difference=drift.add)

        result = run_stoppable(compare_all, stop, grace_s=TASK_GRACE_S)
        differing = sum(result.amounts[status].objects for status in DRIFT if status != EXTRA)
        is_of_all = not is_started_by_hand(context) or settings.limits.is_of_all(params)
        if began is not None and is_of_all and not differing:
            _last(opened.service, container, context).write(context["ti"].run_id, began)
    for line in result.lines():
        log.info("%s", line)
    log_groups(drift.groups)
    summary = result.summary()
    context["ti"].xcom_push(COMPARE_KEY, summary)
    if differing:
        raise PermanentError(
            detail=f"{differing:,} of {result.listed.objects:,} objects are missing, stale or changed in Azure; the "
            "log has the first of each kind. `s3-to-azure compare --csv FILE` writes all of "
            "them, and docs/drift.md says what to do."
        )
    return summary


def _last(service: StreamingClient, container: str, context: Context) -> "LastComparison":
    return LastComparison(AzureState(service, container, dag_id=COMPARISONS, run_id=context["ti"].dag_id))


class LastComparison:
    """The note of which run of a migration has last compared all of it and found nothing that fails.

    Airflow cannot tell: a dry run succeeds too, and runs that events start have no place among the others.

    Args:
        files: The migration's folder in ``COMPARISONS``.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def is_due(self, run_id: str, began: datetime | None, every: timedelta) -> bool:
        """Return whether no other run of this run's period has compared.

        Args:
            run_id: The run; one that is cleared compares again.
            began: When it began; None: that is not known.
            every: The period's length; periods begin at multiples of it.
        """
        # What cannot be read counts as none.
        with suppress(CorruptState, ValueError, KeyError, TypeError, RecursionError):
            noted = json.loads(next(iter(self._files.chunks(_LAST)), b""))
            seconds = every.total_seconds()
            earlier = datetime.fromisoformat(noted["began"]).timestamp()
            return began is None or noted["run_id"] == run_id or earlier // seconds != began.timestamp() // seconds
        return True

    def write(self, run_id: str, began: datetime) -> None:
        """Note a comparison."""
        with self._files.write(_LAST) as out:
            out.write(json.dumps(with_version({"run_id": run_id, "began": began.isoformat()})).encode("ascii"))


class _Drift:
    """Counts the differences that fail the task, with the first of each kind."""

    def __init__(self) -> None:
        self.groups = FailureGroups()

    def add(self, difference: Difference) -> None:
        if difference.status in DRIFT and difference.status != EXTRA:
            is_first = self.groups.add(difference.key, explained(difference.status, difference.reason))
            if is_first:
                log.warning("%s %r: %s", difference.status, difference.key, difference.reason)
