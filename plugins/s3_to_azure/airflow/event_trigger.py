"""``S3EventsTrigger`` watches a queue from the triggerer, and starts runs for what S3 announces in it; Airflow 3 only.

Airflow starts one for each asset that has it as a watcher. It writes announced keys to the state container itself, so
that neither the trigger's end nor a lost asset event loses one: an asset event only says that keys are waiting.
"""
# ruff: noqa: PLC0415 - the SDKs are imported where the trigger runs, never where a DAG is parsed

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from s3_to_azure.runs.drain import Drained

_WAIT_S: Final = 10
"""How long one request to the queue waits for a message; as long may the triggerer take to stop."""

_LOOK_EVERY_S: Final = 300.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_T = TypeVar("_T")


class S3EventsTrigger(BaseEventTrigger):
    """Empties a queue into the state container, and fires while announced keys wait there for a run.

    Args:
        queue_url: URL of the SQS queue.
        bucket_name: The bucket whose events count.
        prefix: The prefix of the keys that count.
        dag_id: The DAG whose runs take the keys.
        state_container: The state container, which exists.
        aws_conn_id: Connection of type ``aws``; None: the triggerer's own identity.
        wasb_conn_id: Connection of type ``wasb``.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        bucket_name: str,
        prefix: str,
        dag_id: str,
        state_container: str,
        aws_conn_id: str | None,
        wasb_conn_id: str,
        s3_verify: bool | str | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_url = queue_url
        self.bucket_name = bucket_name
        self.prefix = prefix
        self.dag_id = dag_id
        self.state_container = state_container
        self.aws_conn_id = aws_conn_id
        self.wasb_conn_id = wasb_conn_id
        self.s3_verify = s3_verify
        self._stop = threading.Event()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments from which the triggerer recreates the trigger."""
        names = ("queue_url", "bucket_name", "prefix", "dag_id", "state_container", "aws_conn_id", "wasb_conn_id")
        arguments = {name: getattr(self, name) for name in (*names, "s3_verify")}
        return "s3_to_azure.airflow.event_trigger.S3EventsTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Empty the queue again and again; yield an event whenever a run should take what waits.

        A failure ends nothing: messages that were not written are delivered again.
        """
        from s3_to_azure.stores.http.redaction import protect_logs, redacted_line

        protect_logs()
        # A thread of its own: Airflow's shared ones are few, and this one is always busy.
        with _Thread() as thread:
            watch: _Watch | None = None
            pause_s = _FIRST_PAUSE_S
            while True:
                try:
                    if watch is None:
                        watch = await thread.run(self._open)
                    payload = await thread.run(watch.step)
                except Exception as error:  # noqa: BLE001 - it must not end the watch
                    self.log.warning(
                        "The queue %s is not read at present, next try in %.0f s: %s: %s",
                        self.queue_url,
                        pause_s,
                        type(error).__name__,
                        redacted_line(error),
                    )
                    if watch is not None:
                        await thread.run(watch.close)
                    watch = None
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    continue
                pause_s = _FIRST_PAUSE_S
                if payload is not None:
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def cleanup(self) -> None:
        """Stop reading the queue."""
        self._stop.set()

    def _open(self) -> "_Watch":
        return _Watch(self, self._stop)


class _Thread:
    """One thread for calls that wait, which may ask Airflow for a connection."""

    def __enter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="s3-events")
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[[], _T]) -> _T:
        """Call a function in the thread."""
        return await sync_to_async(function, thread_sensitive=False, executor=self._executor)()


class _Watch:
    """The open queue and state container of a trigger."""

    def __init__(self, trigger: S3EventsTrigger, stop: threading.Event) -> None:
        from s3_to_azure.airflow.azure_hook import announced_keys, azure_service
        from s3_to_azure.airflow.s3_hook import sqs_queue
        from s3_to_azure.model.retry import Retrier
        from s3_to_azure.model.settings import RetryBudget
        from s3_to_azure.runs.drain import WakeUps

        self._trigger = trigger
        self._retrier = Retrier(RetryBudget(), stop)
        self._queue = sqs_queue(trigger.aws_conn_id, trigger.queue_url, verify=trigger.s3_verify, worked_before=True)
        self._service = azure_service(trigger.wasb_conn_id, connections=1, worked_before=True)
        self._announced = announced_keys(self._service, trigger.state_container, trigger.dag_id)
        self._wake_ups = WakeUps()
        self._look_at = 0.0
        # Before any message is received: where nothing can be written, they stay in the queue.
        self._announced.waiting()

    def step(self) -> dict[str, Any] | None:
        """Take one batch from the queue, or wait for one; return what to tell Airflow if a run should start."""
        drained = self._drain()
        if not drained.batch and time.monotonic() < self._look_at:
            return None
        waiting = self._announced.waiting()
        self._look_at = 0.0 if waiting else time.monotonic() + _LOOK_EVERY_S
        if not self._wake_ups.is_due(waiting):
            return None
        return {"batches": len(waiting), "newest": waiting[-1], "location": self._announced.location}

    def close(self) -> None:
        """Close the connections."""
        for opened in (self._queue, self._service):
            with suppress(Exception):
                opened.close()

    def _drain(self) -> "Drained":
        from s3_to_azure.runs.drain import drain

        trigger = self._trigger
        return drain(
            self._queue,
            self._announced,
            self._retrier,
            bucket=trigger.bucket_name,
            prefix=trigger.prefix,
            wait_s=_WAIT_S,
        )
