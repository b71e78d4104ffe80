"""``S3EventsSensor`` hands a run the objects that S3 has announced in a queue, or lists the bucket."""
# ruff: noqa: ANN401, PLC0415 - BaseOperator's keywords are Any; the SDKs are imported when a task runs, never at parse

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from s3_to_azure.airflow.arguments import DURATION, TEXT, check_kinds
from s3_to_azure.airflow.compat import Context, PokeReturnValue
from s3_to_azure.airflow.migration.run_state import is_over, is_started_by_hand, run_type_of, try_number_of
from s3_to_azure.airflow.waiting import show_waiting
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.names import REPORT_NAME
from s3_to_azure.sensors import S3ObjectsSensor
from s3_to_azure.startup import gc_paused

if TYPE_CHECKING:
    from s3_to_azure.state.announced import AnnouncedKeys
    from s3_to_azure.stores.azure.client import StreamingClient
    from s3_to_azure.stores.s3.source import S3Source

ASSET_RUN: Final = "asset_triggered"
_LOOKUPS_AT_ONCE: Final = 16
_FIRST_WAIT_S: Final = 2
# The next run takes what comes later: a queue that fills as fast as it is emptied must not keep this one from copying.
_MAX_DRAIN_S: Final = 300


class S3EventsSensor(S3ObjectsSensor):
    """Hand the run the announced objects, or wait for objects and list them, by what has started the run.

    A run that an asset event has started takes the keys that ``S3EventsTrigger`` has written. Without a trigger, and
    with ``list_every``, each scheduled run empties the queue by itself, and waits if it is empty; but the first run of
    each such period lists the bucket. All other runs, and all that somebody starts by hand, list the bucket. Each
    announced key is looked up in S3; what no longer exists there is left out. A run that is cleared does what it did
    before.

    Args:
        queue_url: URL of the SQS queue. The identity of ``aws_conn_id`` receives and deletes its messages.
        list_every: How often a scheduled run lists the bucket, on Airflow 2 or without a triggerer; None: always.
        kwargs: As for ``S3ObjectsSensor``; ``state_container`` is needed, ``keys_from`` and ``inventory`` are refused.

    Returns:
        The pointer to the listing.
    """

    def __init__(self, *, queue_url: str, list_every: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.list_every = list_every
        kinds = {"queue_url": TEXT, "list_every": DURATION.or_none}
        check_kinds(self.task_id, {name: getattr(self, name) for name in kinds}, kinds)
        if self.state_container is None or self.keys_from is not None or self.inventory is not None:
            raise UsageError(
                detail=f"{self.task_id}: queue_url needs a state_container, and excludes keys_from and inventory."
            )
        if self.list_every is not None and self.deferrable:
            raise UsageError(
                detail=f"{self.task_id}: deferrable=True cannot be combined with list_every, which needs no triggerer."
            )

    def _poke(self, source: "S3Source", list_key: str | None, context: Context) -> bool | PokeReturnValue:
        is_announced = self.list_every is not None or run_type_of(context) == ASSET_RUN
        if is_started_by_hand(context) or not is_announced:
            return super()._poke(source, list_key, context)
        with gc_paused():
            from s3_to_azure.airflow.azure_hook import azure_service

        service = azure_service(
            self.wasb_conn_id,
            connections=1,
            hook_arguments=self.wasb_extra_args,
            worked_before=try_number_of(context) > 1,
        )
        with closing(service):
            taken = self._stoppable(lambda: self._take(service, context))
        if taken is None:
            return super()._poke(source, list_key, context)
        return taken

    def _take(self, service: "StreamingClient", context: Context) -> bool | PokeReturnValue | None:
        """Take what is announced; return the pointer, False if there is nothing yet, or None if a listing is due."""
        from s3_to_azure.airflow.azure_hook import announced_keys

        now = datetime.now(UTC)
        announced = announced_keys(service, str(self.state_container), context["ti"].dag_id)
        if not announced.holds(context["ti"].run_id) and self._has_reported(service, context):
            # It has listed the bucket, or its batches are too old to be still there.
            return None
        if self.list_every is not None:
            if is_listing_due(announced.listed_at(), self.list_every, now):
                return None
            self._drain(announced)
        batches = announced.take(context["ti"].run_id, is_over=is_over(context), now=now)
        if not batches and self.list_every is not None:
            self.log.info("Waiting: no event in the queue announces an object")
            show_waiting(context, self, found="no event", deadline=self._deadline)
            return False
        return self._looked_up(service, announced, batches, context)

    def _drain(self, announced: "AnnouncedKeys") -> None:
        """Write what the queue holds to the state container."""
        from s3_to_azure.airflow.s3_hook import sqs_queue
        from s3_to_azure.model.retry import Retrier
        from s3_to_azure.model.settings import RetryBudget
        from s3_to_azure.runs.drain import drain

        retrier = Retrier(RetryBudget(), self._stop.event)
        with closing(
            sqs_queue(self.aws_conn_id, self.queue_url, verify=self.s3_verify, hook_arguments=self.s3_extra_args)
        ) as queue:
            until = time.monotonic() + _MAX_DRAIN_S
            is_full = True
            while is_full:
                drained = drain(
                    queue, announced, retrier, bucket=self.bucket_name, prefix=self.prefix, wait_s=_FIRST_WAIT_S
                )
                is_full = drained.is_full and time.monotonic() < until

    def _has_reported(self, service: "StreamingClient", context: Context) -> bool:
        """Return whether the run has a report, so that somebody has cleared it."""
        from s3_to_azure.airflow.azure_hook import run_files

        files = run_files(service, str(self.state_container), context)
        return REPORT_NAME in files.names(REPORT_NAME)

    def _looked_up(
        self, service: "StreamingClient", announced: "AnnouncedKeys", batches: int, context: Context
    ) -> PokeReturnValue:
        """Look up what the run has taken; return the pointer to the listing of what exists."""
        from s3_to_azure.airflow.azure_hook import run_files
        from s3_to_azure.airflow.s3_hook import s3_source
        from s3_to_azure.model.retry import Retrier
        from s3_to_azure.model.settings import RetryBudget
        from s3_to_azure.runs.announced import AnnouncedObjects
        from s3_to_azure.state.manifest import write_manifest

        retrier = Retrier(RetryBudget(), self._stop.event)
        files = run_files(service, str(self.state_container), context, create=self.create_container)
        source = s3_source(
            self.aws_conn_id,
            connections=_LOOKUPS_AT_ONCE,
            verify=self.s3_verify,
            hook_arguments=self.s3_extra_args,
            worked_before=True,
        )
        with closing(source):
            found = AnnouncedObjects(
                announced.lines(context["ti"].run_id),
                source,
                retrier,
                bucket=self.bucket_name,
                prefix=self.prefix,
                at_once=_LOOKUPS_AT_ONCE,
            )
            pointer = write_manifest(
                found, files, bucket=self.bucket_name, prefix=self.prefix, retrier=retrier, looked_up=True
            )
        gone = f"; {found.gone:,} of the keys no longer exist in S3" if found.gone else ""
        self.log.info(
            "%s announced %s (%s)%s; the listing is %s/%s",
            count_text(batches, "batch", "batches"),
            count_text(pointer.objects, "object"),
            size_text(pointer.bytes_total),
            gone,
            files.location,
            pointer.name,
        )
        return PokeReturnValue(is_done=True, xcom_value=pointer.as_dict())


def is_listing_due(listed_at: datetime | None, every: timedelta, now: datetime) -> bool:
    """Return whether no run of this period, which begins at a multiple of its length, has listed the bucket.

    Args:
        listed_at: When the last run began that has listed it; None: none has.
        every: The period's length.
        now: The current time.
    """
    seconds = every.total_seconds()
    return listed_at is None or listed_at.timestamp() // seconds < now.timestamp() // seconds
