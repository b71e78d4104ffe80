"""The tasks of a run: what each try does with the engine, as Airflow's tasks, the operator and the command line do."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, cast

from s3_to_azure.model.names import check_blob, check_key
from s3_to_azure.model.objects import Block, ListedObject, Receipt
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import CopySettings, RetryBudget
from s3_to_azure.planning.key_list import keys_of, look_up
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.runs.prefix import copy_in_this_process, plan_and_copy, prefix_plan_settings
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.transfer.context import CopyTask, TransferContext, open_context
from s3_to_azure.transfer.object import Outcome, copy_object
from s3_to_azure.transfer.pipeline import BlockPipeline, BlockRoute
from s3_to_azure.transfer.pool import copy_many
from tests.chaos.actors import Actor, Weather
from tests.chaos.promises import Run, WriteCheck
from tests.chaos.world import BlobImage
from tests.fakes.memory_small_object_client import MemorySmallObjectClient

QUICK: Final = RetryBudget(attempts=3, first_wait_s=0.0005, longest_wait_s=0.001)


class CopyActor(Actor):
    """One try of a copy task.

    Attributes:
        writes: Judges its writes.
        listing: Where the task lists itself, the ticks at which that began and ended.
        planning: The same of the plan.
    """

    writes: WriteCheck
    listing = planning = (0, 0)

    def origin_of(self, blob: str) -> tuple[str, str] | None:
        """Return the object whose copy the blob is."""
        key = self.writes.key_of(blob)
        return None if key is None else (self.writes._run.migration.bucket, key)

    def wrote(self, blob: str, before: BlobImage, after: BlobImage) -> None:
        """Check the change."""
        self.writes.check(blob, before, after)

    def check_may_write(self, blob: str) -> None:
        """Check that the blob is one of the run's."""
        self.writes.may_write(blob)


class Task:
    """One task of a run, as Airflow sees it: its tries, of which the last one counts."""

    def __init__(self, name: str, start: Callable[[str, int], Actor]) -> None:
        self.name = name
        self.tries = 0
        self.done = False
        self._start = start
        self.next_try()

    def next_try(self) -> None:
        """Start another try; the result of the one before does not count any more."""
        self.tries += 1
        self.done = False
        self.current = self._start(f"{self.name}.{self.tries}", self.tries)

    @property
    def succeeded(self) -> bool:
        """Whether the last try has succeeded."""
        return self.done and self.current.error is None


@dataclass
class LiveRun:
    """A run in progress, as Airflow sees it.

    Attributes:
        phase: What its tasks do now; ``done`` at the end.
        at_once: Objects, and connections, that a task has at once.
        small: Small objects go through their own client.
        clears: How often a part of it was run again.
        listed: The ticks at which its last listing began and ended; it counts once it is planned.
        is_plan_older: The listing was made again after the plan.
        listed_alone: Only its listing and its report are run again.
    """

    run: Run
    weather: Weather
    phase: str
    at_once: int
    small: bool
    most_tries: int
    tasks: "list[Task]" = field(default_factory=list)
    pointer: ManifestPointer | None = None
    plan: Plan | None = None
    batches: tuple[dict[str, Any], ...] = ()
    clears: int = 0
    is_plan_older: bool = False
    listed_alone: bool = False
    listed: tuple[int, int] = (0, 0)


def list_bucket(live: LiveRun, actor: Actor) -> dict[str, Any]:
    """List the bucket, or look up a list of keys, into a manifest."""
    run = live.run
    migration, retrier = run.migration, Retrier(QUICK, actor.cancelled)
    listing: Iterator[ListedObject]
    if run.keys is None:
        listing = actor.source.list(migration.bucket, migration.s3_prefix)
    else:
        lines = "".join(f"{json.dumps(key)}\n" for key in run.keys).encode()
        keys = keys_of([lines], name="keys.jsonl", prefix=migration.s3_prefix)
        listing = look_up(keys, actor.source, retrier, bucket=migration.bucket, at_once=1)
    return write_manifest(
        listing,
        actor.files,
        bucket=migration.bucket,
        prefix=migration.s3_prefix,
        retrier=retrier,
        looked_up=run.keys is not None,
    ).as_dict()


def plan(live: LiveRun, actor: Actor) -> Plan:
    """Plan the copies."""
    assert live.pointer is not None
    retrier = Retrier(QUICK, actor.cancelled)
    return make_plan(
        actor.files, live.pointer, actor.destination, live.run.settings, retrier=retrier, try_number=actor.number
    )


class InOrder:
    """Moves one block after the other. Several threads that wait for the memory of one block get it in any order."""

    def __init__(self, pipeline: BlockPipeline) -> None:
        self._pipeline = pipeline

    def move(self, route: BlockRoute, blocks: Iterable[Block], **options: Any) -> None:
        """Move the blocks."""
        for block in blocks:
            self._pipeline.move(route, [block], **options)


def copy_in_order(context: TransferContext, tasks: Iterable[CopyTask], *, try_number: int) -> Iterator[Outcome]:
    """Copy one object after the other, as ``copy_many``: no request for an outcome meets those of the next object."""
    for task in tasks:
        yield from copy_many(context, [task], try_number=try_number)


class LookUpsInOrder:
    """Threads that look up one key after the other: after a failure, chance says whether the next one has begun."""

    def __init__(self, *_: object, **__: object) -> None:
        """Start none."""

    def submit(self, work: Callable[[str], object], key: str) -> Future[object]:
        """Look up a key at once."""
        found: Future[object] = Future()
        try:
            found.set_result(work(key))
        except Exception as error:  # noqa: BLE001 - raised where the result is read
            found.set_exception(error)
        return found

    def shutdown(self, **_: object) -> None:
        """Wait for nothing."""


@contextmanager
def _context(live: LiveRun, actor: Actor) -> Iterator[TransferContext]:
    """Open the transfer context of a task."""
    run = live.run
    settings = CopySettings(
        overwrite=run.settings.overwrite,
        integrity=run.settings.integrity,
        memory_budget_bytes=run.settings.memory_budget_bytes,
        block_bytes=run.settings.block_bytes,
        objects_at_once=live.at_once,
        connections=live.at_once,
        refused_names=run.settings.refused_names,
        retry=QUICK,
    )
    source: Any = actor.source
    destination: Any = actor.destination
    client = (lambda: MemorySmallObjectClient(source, destination, at_a_time=3)) if live.small else None
    with open_context(source, destination, settings, cancelled=actor.cancelled, small_object_client=client) as context:
        in_order = cast("BlockPipeline", InOrder(context.pipeline))
        yield replace(context, pipeline=in_order) if live.at_once == 1 else context


def copy(live: LiveRun, actor: CopyActor, *, batch: Mapping[str, Any]) -> None:
    """Copy a batch."""
    migration = live.run.migration
    with _context(live, actor) as context:
        copy_batch(
            context,
            actor.files,
            BatchDescriptor.from_dict(batch),
            bucket=migration.bucket,
            s3_prefix=migration.s3_prefix,
            blob_prefix=migration.blob_prefix,
            try_number=actor.number,
        )


def copy_prefix(live: LiveRun, actor: CopyActor) -> tuple[list[dict[str, Any]], bool]:
    """List, plan and copy a prefix in one task, as the operator and the command line do."""
    run, migration = live.run, live.run.migration
    receipts: list[Receipt] = []
    with _context(live, actor) as context:
        listing = context.source.list(migration.bucket, migration.s3_prefix)
        pointer = write_manifest(
            listing, actor.files, bucket=migration.bucket, prefix=migration.s3_prefix, retrier=context.retrier
        )
        actor.listing = (actor.started_at, actor.world.now)
        settings = prefix_plan_settings(
            context,
            pointer,
            s3_prefix=migration.s3_prefix,
            blob_prefix=migration.blob_prefix,
            filters=run.settings.filters,
            batches=2,
        )

        def planned(_: Plan) -> None:
            actor.planning = (actor.listing[1], actor.world.now)
            actor.writes.decided_at = actor.world.now

        copy_batches = partial(
            copy_in_this_process, context, actor.files, migration.bucket, settings, try_number=actor.number
        )
        error = plan_and_copy(
            context,
            actor.files,
            pointer,
            settings,
            copy_batches=copy_batches,
            on_plan=planned,
            on_receipt=receipts.append,
        )
    rows = [receipt.as_dict() for receipt in receipts]
    if error:
        # Both come out of such a task: the error, and what became of each object.
        actor.result = (rows, False)
        raise error
    return rows, True


def copy_one(live: LiveRun, actor: CopyActor) -> tuple[list[dict[str, Any]], bool]:
    """Copy one object, as the operator does with ``s3_key``."""
    migration, (key,) = live.run.migration, live.run.keys or ("",)
    with _context(live, actor) as context:
        task = CopyTask(migration.bucket, check_key(key), check_blob(live.run.blob_of(key)))
        actor.listing = actor.planning = (actor.started_at, actor.world.now)
        receipt = copy_object(context, task, try_number=actor.number)
    return [receipt.as_dict()], True


def report(live: LiveRun, actor: Actor) -> Report:
    """Make the report of the run."""
    assert live.pointer is not None
    destination: Any = actor.destination
    mapped = live.plan.reference if live.plan else None
    return make_report(actor.files, live.pointer, destination=destination, plan=mapped, try_number=actor.number)
