"""``S3ObjectsSensor`` waits until there is something to copy, then lists it once."""
# ruff: noqa: ANN401, PLC0415 - BaseOperator's keywords are Any; the SDKs are imported when a task runs, never at parse

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from glob import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from s3_to_azure.airflow.arguments import MAPPING_CURE
from s3_to_azure.airflow.compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    conf,
    retry_arguments,
    task_error,
)
from s3_to_azure.airflow.migration.run_state import try_number_of
from s3_to_azure.airflow.rendering import RendersNoData
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.airflow.waiting import check_sensor, first_deadline, has_poked, show_waiting, triggerer_error
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import NameRefused, TransferError, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.names import check_bucket
from s3_to_azure.model.uris import parse_inventory, parse_key_list
from s3_to_azure.startup import gc_paused
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, TaskStop, run_stoppable

if TYPE_CHECKING:
    from s3_to_azure.airflow.listing import ListedPlace, ReportPlace
    from s3_to_azure.state.manifest import ManifestPointer
    from s3_to_azure.stores.s3.source import S3Source

# As many as ``listing`` looks up at once, without its imports.
_LOOKUPS_AT_ONCE: Final = 16
_T = TypeVar("_T")

_MANUAL: Final = "manual"


class S3ObjectsSensor(RendersNoData, BaseSensorOperator):
    """Wait for objects below a prefix, then write their listing to the run's state files and return a pointer to it.

    A poke lists no more objects than it needs to count ``min_objects``; only the last one lists all of them, once.
    With ``keys_from`` it waits for that list of keys, and looks up each key instead of listing the bucket.

    Args:
        bucket_name: Bucket to watch. (templated)
        prefix: What the keys of the objects begin with. (templated)
        keys_from: ``s3://bucket/key`` of a list of keys in the same bucket: text with one key per line, or JSON lines
            if its name ends in ``.jsonl``. All keys lie below ``prefix``; one that does not exist is a failed object
            of the run. Set it in DAG code only, because the list decides what is copied. (templated)
        checksums_from: ``s3://bucket/.../manifest.json`` of a job of S3 Batch Operations that computed checksums. They
            go into the listing, and verify objects for which S3 stores none (docs/checksum-reports.md). (templated)
        inventory: An S3 Inventory to read instead of listing the bucket: the address of its ``manifest.json`` or
            ``symlink.txt``, or its configuration's folder for the newest one; it is waited for (docs/inventory.md).
            (templated)
        min_objects: How many objects to wait for; not used with ``keys_from`` and ``inventory``.
        allow_empty: Do not wait, however few objects exist; a list that does not exist counts as empty.
        manual_runs_wait: Whether a run that was started by hand waits too; otherwise it looks once, and fails if there
            are too few objects. (templated)
        include: Only keys that match one of these patterns are counted; the listing holds all keys. (templated)
        exclude: Keys that match one of these patterns are not counted. (templated)
        aws_conn_id: Connection of type ``aws``; None: the worker's own identity.
        wasb_conn_id: Connection of type ``wasb``, for the listing.
        state_container: Container of the run's state files; None: only wait, and write no listing. (templated)
        create_container: Create a missing state container.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting, else verified.
        s3_extra_args: More keyword arguments of ``S3Hook``.
        wasb_extra_args: More keyword arguments of ``WasbHook``.
        deferrable: Wait in the triggerer, which only counts; the task makes the listing. ``mode`` is ignored.
        mode: ``reschedule`` holds no worker slot between pokes.
        kwargs: ``BaseSensorOperator``'s, such as ``poke_interval``, ``timeout`` and ``soft_fail``.

    Returns:
        The pointer to the listing; nothing without ``state_container``; the keys if ``keys()`` was called.
    """

    template_fields: Sequence[str] = (
        "bucket_name",
        "prefix",
        "keys_from",
        "checksums_from",
        "inventory",
        "manual_runs_wait",
        "include",
        "exclude",
        "state_container",
    )
    ui_color = "#e6f1f2"

    def __init__(  # noqa: PLR0913 - the arguments of Airflow's own sensors, and those of the listing
        self,
        *,
        bucket_name: str,
        prefix: str = "",
        keys_from: str | None = None,
        checksums_from: str | None = None,
        inventory: str | None = None,
        min_objects: int = defaults.MIN_OBJECTS,
        allow_empty: bool = False,
        manual_runs_wait: bool | str = True,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        aws_conn_id: str | None = defaults.AWS_CONN_ID,
        wasb_conn_id: str = defaults.WASB_CONN_ID,
        state_container: str | None = None,
        create_container: bool = False,
        s3_verify: bool | str | None = None,
        s3_extra_args: Mapping[str, Any] | None = None,
        wasb_extra_args: Mapping[str, Any] | None = None,
        deferrable: bool = False,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        kwargs |= retry_arguments(kwargs.pop("retry_policy", None))
        super().__init__(mode=mode, **kwargs)
        self.bucket_name = bucket_name
        self.prefix = prefix
        self.keys_from = keys_from
        self.checksums_from = checksums_from
        self.inventory = inventory
        self.min_objects = min_objects
        self.allow_empty = allow_empty
        self.manual_runs_wait = manual_runs_wait
        self.include = include
        self.exclude = exclude
        self.aws_conn_id = aws_conn_id
        self.wasb_conn_id = wasb_conn_id
        self.state_container = state_container
        self.create_container = create_container
        self.s3_verify = s3_verify
        self.s3_extra_args = s3_extra_args
        self.wasb_extra_args = wasb_extra_args
        self.deferrable = deferrable
        self._returns_keys = False
        self._deadline: datetime | None = None
        self._has_poked = self._is_resumed = False
        self._stop = TaskStop()
        check_sensor(self)

    def keys(self) -> Any:
        """Return the keys of the objects that are counted, to map one task over each.

        ::

            sensor = S3ObjectsSensor(task_id="wait", bucket_name="exports", prefix="daily/")
            S3ToAzureBlobStreamOperator.partial(
                task_id="copy", s3_bucket="exports", container_name="archive"
            ).expand(s3_key=sensor.keys())

        The task fails if there are more objects than Airflow maps a task over (``[core] max_map_length``, 1,024);
        ``migration_dag`` has no such limit. Folder markers are left out.

        Raises:
            UsageError: The sensor has a ``state_container``, and returns the pointer to the listing instead.
        """
        if self.state_container is not None:
            raise UsageError(
                detail=f"{self.task_id}: keys() cannot be combined with state_container, where the listing is kept for "
                "s3_to_azure.dag.migration_dag."
            )
        self._returns_keys = True
        return self.output

    @raises_task_errors
    def execute(self, context: Context) -> Any:
        """Wait for the objects; return the pointer to the listing, if one is made."""
        if not self._returns_keys and self.get_dag() and next(self.iter_mapped_dependants(), None):
            raise UsageError(detail=f"{self.task_id}: its output is not a list of keys. {MAPPING_CURE}")
        if not self.deferrable:
            return super().execute(context)
        self._deadline = first_deadline(context, timeout_s=self.timeout, retries=self.retries)
        return self._poke_or_defer(context)

    @raises_task_errors
    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, deadline: str | None = None
    ) -> Any:
        """Check again after the trigger has fired, because the task makes the listing and reports errors.

        Args:
            context: The task's.
            event: The trigger's, which tells if the triggerer cannot wait.
            deadline: When the wait of the first try ends.
        """
        self._has_poked = self._is_resumed = True
        if deadline is not None:
            self._deadline = datetime.fromisoformat(deadline)
        return self._poke_or_defer(context, event or {})

    def on_kill(self) -> None:
        """Stop a poke."""
        self._stop.stop()

    def _poke_or_defer(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        result = self.poke(context)
        if isinstance(result, PokeReturnValue):
            return result.xcom_value
        if not result:
            if event and event.get("problem"):
                raise triggerer_error(self.task_id, event)
            self._defer()
        return None

    def _defer(self) -> None:
        from s3_to_azure.triggers import S3ObjectsTrigger

        deadline = self._deadline or datetime.now(UTC) + timedelta(seconds=self.timeout)
        left = deadline - datetime.now(UTC)
        if left <= timedelta():
            message = f"There were too few objects until {deadline.isoformat(timespec='seconds')}, when the wait ended."
            is_skipped = self.soft_fail or getattr(self, "never_fail", False)  # 2.10 has no never_fail
            raise AirflowSkipException(message) if is_skipped else AirflowSensorTimeout(message)
        bucket, prefix, include = self._watched()
        trigger = S3ObjectsTrigger(
            bucket_name=bucket,
            prefix=prefix,
            min_objects=self.min_objects,
            include=include,
            exclude=self.exclude,
            aws_conn_id=self.aws_conn_id,
            s3_verify=self.s3_verify,
            poke_interval=self.poke_interval,
            # The trigger saw enough objects, and the task does not: both asking at once again would never end.
            waits_first=self._is_resumed,
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"deadline": deadline.isoformat()},
            timeout=left,
        )

    def _watched(self) -> tuple[str, str, Sequence[str]]:
        """Return the bucket, the prefix and the patterns of the keys that a trigger counts."""
        if self.inventory:
            from s3_to_azure.planning.inventory import watched

            return watched(parse_inventory(self.inventory, name="inventory"))
        list_key = self._list_key()
        # Other keys may begin with the key of the list.
        return self.bucket_name, list_key or self.prefix, [escape(list_key)] if list_key else self.include

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Check once whether the objects exist; make the listing if they do.

        Raises:
            PermanentError: Waiting cannot help: the bucket does not exist, or access is denied.
            TransientError: The next try may succeed.
        """
        with gc_paused():
            from s3_to_azure.airflow.s3_hook import s3_source

        self._stop.begin()
        try:
            check_bucket(self.bucket_name)
            list_key = self._list_key()
            connections = _LOOKUPS_AT_ONCE if list_key else 1
            source = s3_source(
                self.aws_conn_id,
                connections=connections,
                verify=self.s3_verify,
                hook_arguments=self.s3_extra_args,
                worked_before=self._has_poked or has_poked(context),
            )
            with closing(source):
                result = self._poke(source, list_key, context)
        except TransferError as error:
            raise task_error(error) from None
        self._has_poked = True
        return result

    def _may_wait(self, context: Context) -> bool:
        waits = str(self.manual_runs_wait).strip().lower() == "true"
        return waits or context["dag_run"].run_type != _MANUAL

    def _stoppable(self, work: Callable[[], _T]) -> _T:
        """Run a part of a poke that sends requests, so that ``on_kill`` ends it whatever its sockets do."""
        return run_stoppable(work, self._stop.event, grace_s=TASK_GRACE_S)

    def _poke(self, source: "S3Source", list_key: str | None, context: Context) -> bool | PokeReturnValue:
        count = self._stoppable(lambda: self._count(source, list_key))
        named = self.keys_from or self.inventory
        where = f"named by {named}" if named else f"{_below(self.prefix)}in S3 bucket {self.bucket_name}"
        # An inventory that S3 has not finished is not an empty one.
        if count < self.min_objects and (self.inventory or not self.allow_empty):
            if not self._may_wait(context):
                what = "list of keys" if list_key else "inventory"
                wanted = what if named else count_text(self.min_objects, "object")
                raise UsageError(
                    detail=f"{self.task_id}: {count:,} of {wanted} {where}. A run that is started by hand looks once: "
                    "correct the prefix, or tick Wait in the trigger form."
                )
            found = "" if named else f"{count:,} of {count_text(self.min_objects, 'object')}"
            self.log.info(f"Waiting: {found} {where}" if found else f"Waiting for {named}")
            show_waiting(context, self, found=found, deadline=self._deadline)
            return False
        if self._returns_keys:
            keys = self._stoppable(lambda: self._keys(source, list_key, is_there=bool(count)))
            self.log.info("Listed %s %s", count_text(len(keys), "key"), where)
            return PokeReturnValue(is_done=True, xcom_value=keys)
        if self.state_container is None:
            self.log.info("%s or more %s", count_text(count, "object"), where)
            return True
        pointer, location = self._write_listing(source, list_key, context, is_there=bool(count))
        self.log.info(
            "Listed %s (%s) %s; the listing is %s/%s",
            count_text(pointer.objects, "object"),
            size_text(pointer.bytes_total),
            where,
            location,
            pointer.name,
        )
        return PokeReturnValue(is_done=True, xcom_value=pointer.as_dict())

    def _list_key(self) -> str | None:
        """Return the key of the list of keys, or None without ``keys_from``."""
        if not self.keys_from:
            return None
        return parse_key_list(self.keys_from, bucket=self.bucket_name, name="keys_from")

    def _count(self, source: "S3Source", list_key: str | None) -> int:
        """Return how many objects are counted, at most ``min_objects``; 1 if what names them exists, else 0."""
        if self.inventory:
            from s3_to_azure.model.retry import Retrier
            from s3_to_azure.model.settings import RetryBudget

            return self._report_place().has_inventory(Retrier(RetryBudget(), self._stop.event))
        if list_key:
            return sum(listed.key == list_key for listed in source.list(self.bucket_name, list_key, max_keys=1))
        filters = Filters(include=tuple(self.include), exclude=tuple(self.exclude))
        # With patterns, any number of keys may have to be listed before enough of them match.
        max_keys = None if self.include or self.exclude else self.min_objects
        listing = source.list(self.bucket_name, self.prefix, max_keys=max_keys)
        counted = (listed for listed in listing if filters.reason_to_skip(listed) is None)
        return sum(1 for _ in islice(counted, self.min_objects))

    def _keys(self, source: "S3Source", list_key: str | None, *, is_there: bool) -> list[str]:
        """Return the keys of the objects that are counted.

        Raises:
            UsageError: There are more than Airflow maps a task over.
            NameRefused: The text of an object's key is not the key, so no task could copy it.
        """
        from s3_to_azure.airflow.listing import listed_objects
        from s3_to_azure.model.names import is_folder_marker, is_shown_only
        from s3_to_azure.model.retry import Retrier
        from s3_to_azure.model.settings import RetryBudget

        most = conf.getint("core", "max_map_length", fallback=1_024)
        filters = Filters(include=tuple(self.include), exclude=tuple(self.exclude))
        keys: list[str] = []
        retrier = Retrier(RetryBudget(), self._stop.event)
        for listed in listed_objects(source, self._place(list_key, is_there=is_there), retrier):
            if is_folder_marker(listed) or filters.reason_to_skip(listed) is not None:
                continue
            if is_shown_only(listed):
                raise NameRefused(name=listed.key, detail=listed.problem)
            if len(keys) == most:
                raise UsageError(
                    detail=f"{self.task_id}: there are more objects than the {most:,} tasks that Airflow maps ([core] "
                    "max_map_length). Use s3_to_azure.dag.migration_dag, which divides many objects into few tasks."
                )
            keys.append(listed.key)
        return keys

    def _write_listing(
        self, source: "S3Source", list_key: str | None, context: Context, *, is_there: bool
    ) -> "tuple[ManifestPointer, str]":
        """Write the listing to the run's state files; return the pointer, and the location of these files."""
        # Imported only here: a poke that finds too few objects, in a process of its own, needs no Azure SDK.
        with gc_paused():
            from s3_to_azure.airflow.azure_hook import azure_service, run_files
            from s3_to_azure.airflow.listing import write_listing

        service = azure_service(
            self.wasb_conn_id,
            connections=1,
            hook_arguments=self.wasb_extra_args,
            worked_before=try_number_of(context) > 1,
        )
        place = self._place(list_key, is_there=is_there)
        report = self._report_place()

        def write() -> "tuple[ManifestPointer, str]":
            files = run_files(service, str(self.state_container), context, create=self.create_container)
            return write_listing(source, place, report, files, self._stop.event), files.location

        with closing(service):
            return self._stoppable(write)

    def _report_place(self) -> "ReportPlace":
        with gc_paused():
            from s3_to_azure.airflow.listing import ReportPlace

        stores = self.aws_conn_id, self.s3_verify, self.s3_extra_args or {}
        return ReportPlace(self.checksums_from or "", *stores, inventory=self.inventory or "")

    def _place(self, list_key: str | None, *, is_there: bool) -> "ListedPlace":
        from s3_to_azure.airflow.listing import ListedPlace

        return ListedPlace(self.bucket_name, self.prefix, self.keys_from, list_key, is_there)


def _below(prefix: str) -> str:
    """Return the prefix as a part of a sentence; nothing for the whole bucket."""
    return f"below {prefix!r} " if prefix else ""
