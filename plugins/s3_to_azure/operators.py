"""``S3ToAzureBlobStreamOperator`` copies one object, all objects below a prefix, or one batch of a plan."""
# ruff: noqa: ANN401, PLC0415 - BaseOperator's keywords are Any; the SDKs are imported when a task runs, never at parse

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from s3_to_azure.airflow.arguments import (
    DURATION,
    FLAG,
    MAPPING,
    SIZE,
    TEXT,
    VERIFY,
    Kind,
    check_kinds,
    check_selection,
    is_known,
)
from s3_to_azure.airflow.compat import BaseOperator, Context, retry_arguments
from s3_to_azure.airflow.links import LINKS
from s3_to_azure.airflow.rendering import RendersNoData, rendered_secret
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.names import check_bucket, check_container
from s3_to_azure.model.options import ALWAYS, IF_CHANGED, NEVER, Overwrite, RefusedNames, Via
from s3_to_azure.planning.overlap import NameMapping, warn_of_overlaps
from s3_to_azure.startup import gc_paused
from s3_to_azure.stores.presigned.url import PresignedUrl, parse_url
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, TaskStop, run_stoppable

if TYPE_CHECKING:
    from s3_to_azure.airflow.jobs import Endpoints, Job, OpenTransfer
    from s3_to_azure.model.settings import CopySettings

BATCH_LABEL: Final = "batch_label"
"""Name of the context variable that says what this task copies: the key, or ``1,204 objects, 3.2 GiB``."""

MAP_INDEX_TEMPLATE: Final = f"{{{{ {BATCH_LABEL} | default(task.batch_label) }}}}"
"""For ``map_index_template``. A key is never rendered, because it is the value of a variable, not a template."""

_KINDS: Final[Mapping[str, Kind]] = {
    "s3_bucket": TEXT.or_none,
    "container_name": TEXT,
    "blob_name": TEXT.or_none,
    "blob_prefix": TEXT,
    "aws_conn_id": TEXT.or_none,
    "wasb_conn_id": TEXT,
    "create_container": FLAG,
    "replace": FLAG.or_none,
    "block_size": SIZE.or_none,
    "memory_budget": SIZE,
    "objects_at_once": SIZE,
    "bandwidth_limit": SIZE.or_none,
    "s3_verify": VERIFY.or_none,
    "s3_extra_args": MAPPING.or_none,
    "wasb_extra_args": MAPPING.or_none,
    "fidelity": MAPPING.or_none,
    "state_container": TEXT.or_none,
    "run_timeout": DURATION.or_none,
}


class S3ToAzureBlobStreamOperator(RendersNoData, BaseOperator):
    """Copy objects from S3 to Azure Blob Storage: streamed through memory, verified, resumed by the next try.

    Exactly one of ``s3_key``, ``s3_prefix``, ``batch`` and ``source_url`` selects the objects; with ``batch``,
    ``s3_prefix`` is only the part of the keys that the blobs' names leave out. A blob's name is ``blob_prefix`` + key
    without ``s3_prefix``. The blob of ``s3_key`` or ``source_url`` is named as Airflow's own operator does it:
    ``blob_name``, or ``blob_prefix``, a slash and what follows the key's last slash; without both, the key. An empty
    text counts as not passed, except that ``s3_prefix=""`` alone selects the whole bucket.

    To copy each object in a task of its own, map the operator over keys (``S3ObjectsSensor.keys``). A key that comes
    from a task, through ``expand`` or ``expand_kwargs``, is never rendered as a template.

    Args:
        s3_bucket: Bucket to read; not with ``source_url``. (templated)
        container_name: Container to write. (templated)
        s3_key: One object. (templated)
        s3_prefix: All objects whose keys begin with it. (templated)
        batch: A batch descriptor of the plan; never templated.
        source_url: The presigned or public URL of one object, which is read without ``aws_conn_id``. It is a secret:
            pass a template such as ``{{ var.value.partner_url }}``, which is rendered when the task runs, masked in
            logs, and kept by Airflow nowhere.
        blob_name: The name of the blob for ``s3_key``. (templated)
        blob_prefix: What the blobs' names begin with; with ``s3_key`` it is a folder, without a slash at its end.
            (templated)
        aws_conn_id: Connection of type ``aws``; None: the worker's own identity, which a missing ``aws_default`` stands
            for too.
        wasb_conn_id: Connection of type ``wasb``.
        create_container: Create a missing container.
        replace: True is ``overwrite="always"``, False is ``overwrite="never"``.
        overwrite: ``if_changed`` keeps a blob that is a copy of the object's current version; ``never``; ``always``.
            (templated)
        integrity: ``auto``, or the weakest verification level to accept. (templated)
        via: ``worker`` streams all bytes through this worker; ``azure`` has Azure fetch them from S3 by presigned URLs,
            and fails objects that it cannot fetch; ``auto`` streams those (docs/which-path.md). (templated)
        block_size: Size such as ``32MiB``; default: chosen by the object's size.
        memory_budget: Maximum size of object data in memory. (templated)
        objects_at_once: The most objects that this task copies at the same time; as many are as it takes to use the
            network, and they share the budget. (templated)
        bandwidth_limit: Bytes per second that this task may read, a size such as ``50MiB``; None: no limit.
            (templated)
        s3_verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting, else verified.
        s3_extra_args: More keyword arguments of ``S3Hook``. ``requester_pays``, and in ``extra_args`` RequestPayer,
            SSECustomerKey and VersionId, apply to every read.
        wasb_extra_args: More keyword arguments of ``WasbHook``.
        refused_names: What to do with an object whose name Azure does not accept: ``fail``, ``skip`` or ``map``.
            (templated)
        fidelity: What to do with tags, tiers, archived objects, oversized metadata, and ETags that are not MD5s
            (``model.settings.Fidelity``).
        state_container: Container of the run's state files. With ``batch`` the plan is read from it; default:
            ``container_name``. With ``s3_prefix`` it keeps listing, receipts and report; without it, nothing but the
            blobs is written. (templated)
        run_timeout: A task of a run that is older stops, and is not retried; None: no limit.
        kwargs: ``BaseOperator``'s. The default ``retry_policy`` does not retry permanent errors.

    Returns:
        The receipt of ``s3_key``; otherwise the counts by status and reason. Small enough for XCom.

    Raises:
        UsageError: The arguments cannot be used together; raised when the DAG is parsed, except for templates.
    """

    template_fields: Sequence[str] = (
        "s3_bucket",
        "container_name",
        "s3_key",
        "s3_prefix",
        "blob_name",
        "blob_prefix",
        "overwrite",
        "integrity",
        "via",
        "memory_budget",
        "objects_at_once",
        "bandwidth_limit",
        "state_container",
        "refused_names",
    )
    operator_extra_links = LINKS
    ui_color = "#cfe8f7"

    def __init__(  # noqa: PLR0913 - the arguments of Airflow's own operator, and more
        self,
        *,
        s3_bucket: str | None = None,
        container_name: str,
        s3_key: str | None = None,
        s3_prefix: str | None = None,
        batch: Mapping[str, Any] | None = None,
        source_url: str | None = None,
        blob_name: str | None = None,
        blob_prefix: str | None = "",
        aws_conn_id: str | None = defaults.AWS_CONN_ID,
        wasb_conn_id: str = defaults.WASB_CONN_ID,
        create_container: bool = False,
        replace: bool | None = None,
        overwrite: Overwrite = defaults.OVERWRITE,
        integrity: str = defaults.INTEGRITY,
        via: str = defaults.VIA,
        block_size: str | int | None = None,
        memory_budget: str | int = defaults.MEMORY_BUDGET,
        objects_at_once: int = defaults.OBJECTS_AT_ONCE,
        bandwidth_limit: str | int | None = None,
        s3_verify: bool | str | None = None,
        s3_extra_args: Mapping[str, Any] | None = None,
        wasb_extra_args: Mapping[str, Any] | None = None,
        refused_names: str = defaults.REFUSED_NAMES,
        fidelity: Mapping[str, Any] | None = None,
        state_container: str | None = None,
        run_timeout: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        # A mapped operator passes the None of its partial.
        kwargs |= retry_arguments(kwargs.pop("retry_policy", None))
        super().__init__(**kwargs)
        self.s3_bucket = s3_bucket
        self.container_name = container_name
        self.s3_key = s3_key
        self.s3_prefix = s3_prefix
        self.batch = batch
        self.source_url = source_url
        self.blob_name = blob_name
        self.blob_prefix = blob_prefix or ""
        self.aws_conn_id = aws_conn_id
        self.wasb_conn_id = wasb_conn_id
        self.create_container = create_container
        self.replace = replace
        self.overwrite = overwrite
        self.integrity = integrity
        self.via = via
        self.block_size = block_size
        self.memory_budget = memory_budget
        self.objects_at_once = objects_at_once
        self.bandwidth_limit = bandwidth_limit
        self.s3_verify = s3_verify
        self.s3_extra_args = s3_extra_args
        self.wasb_extra_args = wasb_extra_args
        self.refused_names = refused_names
        self.fidelity = fidelity
        self.state_container = state_container
        self.run_timeout = run_timeout
        self._account = ""
        self._bucket = s3_bucket or ""
        self.one_object: tuple[str, str] | None = None
        self._stop = TaskStop()
        self._check_arguments()
        self._warn_of_overlaps()

    @property
    def batch_label(self) -> str:
        """The content of the batch as its descriptor has it; empty without a batch."""
        if not self.batch:
            return ""
        return f"{count_text(int(self.batch['objects']), 'object')}, {size_text(int(self.batch['size_bytes']))}"

    @raises_task_errors
    def execute(self, context: Context) -> dict[str, Any]:
        """Copy; return the receipt, or the counts.

        Raises:
            PermanentError: A retry cannot help.
            TransientError: A retry may help; it sends only what is missing.
            Cancelled: Stopped by ``on_kill``; staged blocks stay in Azure.
        """
        with gc_paused():
            from s3_to_azure.airflow.jobs import open_transfer
            from s3_to_azure.airflow.migration.run_state import try_number_of

        cancelled = self._stop.begin()
        # A unit test of a DAG may pass no context.
        context = context or cast("Context", {})
        self._check_arguments()
        # The plan of a batch was made with the same connections.
        worked = try_number_of(context) > 1 or bool(self.batch)
        endpoints = self._endpoints(context)
        with open_transfer(endpoints, self._settings(), cancelled, worked_before=worked) as opened:
            self._account, self._bucket = str(opened.service.account_name or ""), endpoints.bucket
            return self._run(opened, endpoints, cancelled, context)

    def get_openlineage_facets_on_complete(self, _task_instance: object) -> object:
        """Return the datasets read and written; called by OpenLineage's provider, if it is installed."""
        from s3_to_azure.airflow.lineage import copy_lineage

        if self.s3_key:
            read, written = self.s3_key, self.blob_of_key(self.s3_key)
        elif self.source_url and self.one_object:
            read, written = self.one_object
        else:
            read, written = self.s3_prefix or "/", self.blob_prefix or "/"
        return copy_lineage(
            bucket=self._bucket, read=read, account=self._account, container=self.container_name, written=written
        )

    def on_kill(self) -> None:
        """Stop the copy."""
        self._stop.stop()

    def _check_arguments(self) -> None:
        """Check what is known; when the DAG is parsed this is all but the templates, when the task runs it is all.

        Raises:
            UsageError: A value is not allowed, or two cannot be used together.
        """
        check_selection(self)
        if self.source_url is not None and is_known(self.source_url):
            self._parsed_url(self.source_url, name=f"{self.task_id}: source_url")
        check_kinds(self.task_id, {name: getattr(self, name) for name in _KINDS}, _KINDS)
        if self.s3_bucket is not None and is_known(self.s3_bucket):
            check_bucket(self.s3_bucket)
        if is_known(self.container_name):
            check_container(self.container_name)
        if self.replace is not None and self.overwrite != IF_CHANGED:
            raise UsageError(detail=f"{self.task_id}: pass replace or overwrite, not both.")
        # Of a subclass's template fields, none is set yet.
        if all(is_known(getattr(self, name, None)) for name in self.template_fields):
            self._settings()

    def _parsed_url(self, text: str, *, name: str) -> PresignedUrl:
        return parse_url(text, name=name, without_tls=self.s3_verify is False)

    def _endpoints(self, context: Context) -> "Endpoints":
        from s3_to_azure.airflow.jobs import Endpoints

        url = None
        if self.source_url is not None:
            url = self._parsed_url(rendered_secret(self, "source_url", context), name="source_url")
        return Endpoints(
            url.bucket if url else str(self.s3_bucket),
            self.container_name,
            aws_conn_id=self.aws_conn_id,
            wasb_conn_id=self.wasb_conn_id,
            s3_arguments={"verify": self.s3_verify, "hook_arguments": self.s3_extra_args},
            wasb_arguments=self.wasb_extra_args,
            create_container=self.create_container,
            url=url,
        )

    def _run(
        self, opened: "OpenTransfer", endpoints: "Endpoints", cancelled: threading.Event, context: Context
    ) -> dict[str, Any]:
        """Run the job in a thread of its own, and report its progress from this one.

        Airflow needs the main thread: SIGTERM calls ``on_kill`` there, and ``execution_timeout`` raises there.
        """
        from s3_to_azure.airflow.metrics import send
        from s3_to_azure.airflow.migration.run_state import check_deadline, try_number_of
        from s3_to_azure.airflow.progress import ProgressReporter, progress_store

        check_deadline(context, self.run_timeout)
        job = self._job(opened, endpoints, context)
        reporter = ProgressReporter(
            opened.context.progress,
            store=progress_store(context),
            is_listing=lambda: job.is_listing,
            try_number=try_number_of(context),
            limit=opened.context.settings.bandwidth_bytes_s,
        )

        def on_poll() -> None:
            reporter.report()
            check_deadline(context, self.run_timeout)

        try:
            return run_stoppable(job.run, cancelled, grace_s=TASK_GRACE_S, on_poll=on_poll, on_end=reporter.close)
        finally:
            self.one_object = job.one_object
            if job.measured is not None:
                send(job.measured, context)

    def _job(self, opened: "OpenTransfer", endpoints: "Endpoints", context: Context) -> "Job":
        """Return the job for what the task selects; only what it needs is imported."""
        from s3_to_azure.airflow.azure_hook import run_files, task_files
        from s3_to_azure.airflow.migration.run_state import run_of_tries, try_number_of

        try_number, run = try_number_of(context), run_of_tries(context)
        if self.batch is not None:
            from s3_to_azure.airflow.jobs import BatchJob
            from s3_to_azure.state.plan import BatchDescriptor

            variables = cast("dict[str, Any]", context)
            return BatchJob(
                opened.context,
                endpoints,
                run_files(opened.service, self.state_container or self.container_name, context),
                BatchDescriptor.from_dict(self.batch),
                s3_prefix=self.s3_prefix or "",
                blob_prefix=self.blob_prefix,
                try_number=try_number,
                on_label=lambda label: variables.__setitem__(BATCH_LABEL, label),
            )
        key = endpoints.url.key if endpoints.url else self.s3_key
        if key:
            from s3_to_azure.airflow.jobs import ObjectJob

            blob = self.blob_of_key(key)
            return ObjectJob(opened.context, endpoints, key=key, blob=blob, try_number=try_number, run=run)
        from s3_to_azure.airflow.prefix_job import PrefixJob

        return PrefixJob(
            opened.context,
            endpoints,
            task_files(opened.service, self.state_container, context) if self.state_container else None,
            prefix=self.s3_prefix or "",
            blob_prefix=self.blob_prefix,
            try_number=try_number,
            run=run,
        )

    def blob_of_key(self, key: str) -> str:
        """Return the name of the blob for ``s3_key``."""
        if self.blob_name:
            return self.blob_name
        return f"{self.blob_prefix}/{key.rpartition('/')[2]}" if self.blob_prefix else key

    def _warn_of_overlaps(self) -> None:
        """Warn if the blobs can be written by another task of this process too; a batch's are the migration's."""
        dag, read = self.get_dag(), self.s3_key or self.s3_prefix
        if dag is None or self.batch is not None or self.wasb_extra_args or self.source_url is not None:
            return
        written = self.blob_of_key(read) if self.s3_key and isinstance(read, str) else self.blob_prefix
        texts = (self.s3_bucket or "", read or "", self.wasb_conn_id, self.container_name, written)
        if all(isinstance(text, str) for text in texts):
            owner = f"{dag.dag_id}.{self.task_id}"
            warn_of_overlaps(dag, NameMapping(owner, *texts, is_object=bool(self.s3_key)))

    def _settings(self) -> "CopySettings":
        """Return the checked settings; the templates must be rendered.

        Raises:
            UsageError: A value is not allowed.
        """
        from s3_to_azure.model.settings import CopySettings, Fidelity, parse_rate, parse_size

        by_replace: dict[bool | None, Overwrite] = {None: self.overwrite, True: ALWAYS, False: NEVER}
        try:
            objects_at_once = int(self.objects_at_once)
        except ValueError:
            raise UsageError(detail=f"objects_at_once={self.objects_at_once!r} is not a number.") from None
        return CopySettings(
            overwrite=by_replace[self.replace],
            integrity=self.integrity,
            via=cast("Via", self.via),
            refused_names=cast("RefusedNames", self.refused_names),
            fidelity=Fidelity.of(self.fidelity),
            block_bytes=parse_size(self.block_size, name="block_size") if self.block_size else None,
            memory_budget_bytes=parse_size(self.memory_budget, name="memory_budget"),
            objects_at_once=objects_at_once,
            bandwidth_bytes_s=(
                parse_rate(self.bandwidth_limit, name="bandwidth_limit") if self.bandwidth_limit else None
            ),
        )
