"""``S3ObjectsSensor``: waits until there is something to copy, then lists it once."""
# ruff: noqa: ANN401, PLC0415 - BaseOperator's keywords are Any; the SDKs are imported when a task runs, never at parse

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from glob import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.bases.sensor import PokeReturnValue

from s3_to_azure.airflow.retry_policy import RETRY_POLICY
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.uris import is_template, parse_key_list
from s3_to_azure.startup import collector_at_rest

if TYPE_CHECKING:
    from s3_to_azure.model.objects import ListedObject
    from s3_to_azure.state.manifest import ManifestPointer
    from s3_to_azure.stores.s3.source import S3Source

# HEAD requests in flight while the keys of a list are looked up.
_LOOKS_AT_ONCE: Final = 16


class S3ObjectsSensor(BaseSensorOperator):
    """Wait for objects below a prefix; then write their listing into the run's state and return a pointer to it.

    A poke lists no more than it needs to count ``min_objects``. Only the last one pages through all, once. With
    ``keys_from`` it waits for that object, a list of keys, and looks each of them up instead of listing the bucket.

    Args:
        bucket_name: Bucket to watch. (templated)
        prefix: Where the objects are. (templated)
        keys_from: ``s3://bucket/key`` in the same bucket: a text with one key a line, or JSON lines where its name
            ends in ``.jsonl``; all below ``prefix``. A key that is not there is a failed object of the run. DAG code
            only, like the bucket: whoever could name a list could choose what is copied. (templated)
        min_objects: How many must be there; not used with ``keys_from``.
        allow_empty: Succeed at once, however few there are; a list that is not there is an empty one.
        include: Only keys that match one of these patterns count; the listing holds all. (templated)
        exclude: Keys that match one of these do not count. (templated)
        aws_conn_id: Connection of type ``aws``; None: the worker's own identity.
        wasb_conn_id: Connection of type ``wasb``, for the listing.
        state_container: Container of the run's state; None: only wait, and write no listing. (templated)
        create_container: Make a missing state container.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: as the connection says, else verified.
        s3_extra_args: More keyword arguments of ``S3Hook``.
        wasb_extra_args: More keyword arguments of ``WasbHook``.
        deferrable: Wait in the triggerer, which only counts; the task lists once it is woken. ``mode`` is not used.
        mode: ``reschedule`` holds no worker slot between pokes.
        kwargs: ``BaseSensorOperator``'s, such as ``poke_interval``, ``timeout`` and ``soft_fail``.

    Returns:
        The pointer to the listing; without ``state_container`` nothing.
    """

    template_fields: Sequence[str] = ("bucket_name", "prefix", "keys_from", "include", "exclude", "state_container")
    ui_color = "#e6f1f2"

    def __init__(  # noqa: PLR0913 - the arguments of Airflow's own sensors, and where the listing goes
        self,
        *,
        bucket_name: str,
        prefix: str = "",
        keys_from: str | None = None,
        min_objects: int = defaults.MIN_OBJECTS,
        allow_empty: bool = False,
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
        """Keep and check the arguments; nothing is connected."""
        kwargs["retry_policy"] = kwargs.get("retry_policy") or RETRY_POLICY
        super().__init__(mode=mode, **kwargs)
        self.bucket_name = bucket_name
        self.prefix = prefix
        self.keys_from = keys_from
        self.min_objects = min_objects
        self.allow_empty = allow_empty
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
        if min_objects < 1:
            raise UsageError(
                what=f"{self.task_id}: min_objects={min_objects} is below 1; allow_empty=True waits for none."
            )
        if keys_from is not None and (min_objects != defaults.MIN_OBJECTS or include or exclude):
            raise UsageError(what=f"{self.task_id}: keys_from goes without min_objects, include and exclude.")
        if keys_from is not None and not is_template(keys_from) and not is_template(bucket_name):
            parse_key_list(keys_from, bucket=bucket_name, name="keys_from")
        if deferrable and s3_extra_args:
            raise UsageError(what=f"{self.task_id}: s3_extra_args cannot go to the triggerer; leave deferrable out.")

    def execute(self, context: Context) -> Any:
        """Wait; return the pointer to the listing, where one is made."""
        return self._look_or_defer(context) if self.deferrable else super().execute(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:  # noqa: ARG002
        """Go on when the trigger has fired: look again here, where the listing is made and errors are named."""
        return self._look_or_defer(context)

    def _look_or_defer(self, context: Context) -> Any:
        found = self.poke(context)
        if isinstance(found, PokeReturnValue):
            return found.xcom_value
        if not found:
            self._defer()
        return None

    def _defer(self) -> None:
        from s3_to_azure.triggers import S3ObjectsTrigger

        listed = self._key_of_list()
        trigger = S3ObjectsTrigger(
            bucket_name=self.bucket_name,
            prefix=listed or self.prefix,
            min_objects=self.min_objects,
            # Other keys may begin like the list's.
            include=[escape(listed)] if listed else self.include,
            exclude=self.exclude,
            aws_conn_id=self.aws_conn_id,
            s3_verify=self.s3_verify,
            poke_interval=self.poke_interval,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once.

        Raises:
            PermanentError: Waiting cannot help: no such bucket, no access.
            TransientError: The next try may succeed.
        """
        with collector_at_rest():
            from s3_to_azure.airflow.s3_hook import s3_source
            from s3_to_azure.model.names import check_bucket

        try:
            check_bucket(self.bucket_name)
            listed = self._key_of_list()
            connections = _LOOKS_AT_ONCE if listed else 1
            source = s3_source(
                self.aws_conn_id, connections=connections, verify=self.s3_verify, hook_arguments=self.s3_extra_args
            )
            with closing(source):
                found = self._count(source, listed)
                there = f"below {self.prefix!r} in S3 bucket {self.bucket_name}"
                if listed:
                    there = f"named by {self.keys_from}"
                if found < self.min_objects and not self.allow_empty:
                    self.log.info(
                        "Waiting: %s of %s %s",
                        f"{found:,}",
                        count_text(self.min_objects, "list" if listed else "object"),
                        f"at {self.keys_from}" if listed else there,
                    )
                    return False
                if self.state_container is None:
                    self.log.info("%s or more %s", count_text(found, "object"), there)
                    return True
                pointer, place = self._write_listing(source, listed, context, found=bool(found))
            self.log.info(
                "Listed %s (%s) %s; the listing is %s/%s",
                count_text(pointer.objects, "object"),
                size_text(pointer.bytes_total),
                there,
                place,
                pointer.name,
            )
            return PokeReturnValue(is_done=True, xcom_value=pointer.as_dict())
        except TransferError as error:
            raise error.with_traceback(None) from None

    def _key_of_list(self) -> str | None:
        """Return the key of the list of keys, where there is one."""
        if not self.keys_from:
            return None
        return parse_key_list(self.keys_from, bucket=self.bucket_name, name="keys_from")

    def _write_listing(
        self, source: "S3Source", listed: str | None, context: Context, *, found: bool
    ) -> "tuple[ManifestPointer, str]":
        """List into the run's state; return the pointer, and where that state is."""
        # Only here: a poke that finds too little, in a process of its own, needs nothing of Azure.
        with collector_at_rest():
            from s3_to_azure.airflow.azure_hook import azure_service, run_files
            from s3_to_azure.state.manifest import write_manifest

        service = azure_service(self.wasb_conn_id, connections=1, hook_arguments=self.wasb_extra_args)
        with closing(service):
            files = run_files(service, str(self.state_container), context, create=self.create_container)
            listing = (
                self._looked_up(source, listed, found=found) if listed else source.list(self.bucket_name, self.prefix)
            )
            pointer = write_manifest(
                listing, files, bucket=self.bucket_name, prefix=self.prefix, looked_up=bool(listed)
            )
        return pointer, files.location

    def _looked_up(self, source: "S3Source", listed: str, *, found: bool) -> "Iterator[ListedObject]":
        """Yield the objects that the list of keys names."""
        from s3_to_azure.model.retry import Retrier
        from s3_to_azure.model.settings import RetryBudget
        from s3_to_azure.planning.key_list import keys_of, look_up, object_pieces

        retrier = Retrier(RetryBudget(), threading.Event())
        pieces = object_pieces(source, retrier, bucket=self.bucket_name, key=listed) if found else ()
        keys = keys_of(pieces, name=str(self.keys_from), prefix=self.prefix)
        return look_up(keys, source, retrier, bucket=self.bucket_name, at_once=_LOOKS_AT_ONCE)

    def _count(self, source: "S3Source", key: str | None) -> int:
        """Return how many objects count, up to ``min_objects``; of a list of keys, whether it is there."""
        if key:
            return sum(found.key == key for found in source.list(self.bucket_name, key, max_keys=1))
        filters = Filters(include=tuple(self.include), exclude=tuple(self.exclude))
        # Without patterns the service need not send more than are counted.
        most = None if self.include or self.exclude else self.min_objects
        listed = source.list(self.bucket_name, self.prefix, max_keys=most)
        counted = (one for one in listed if filters.reason_to_skip(one) is None)
        return sum(1 for _ in islice(counted, self.min_objects))
