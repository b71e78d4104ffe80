"""The trigger of ``S3ObjectsSensor``: it counts objects, and lists no more of them than it needs to."""
# ruff: noqa: ASYNC110, PLC0415 - S3 can only be polled; aiobotocore is imported where the trigger runs

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import LISTING_PAGE_KEYS
from s3_to_azure.model.objects import ListedObject

# botocore's name of the request.
_LIST: Final = "ListObjectsV2"
_MAX_PROBLEM: Final = 500


class S3ObjectsTrigger(BaseTrigger):
    """Fires once enough objects exist, or as soon as it turns out that the triggerer cannot wait for them.

    In the second case the event says why: the triggerer has no credentials, no route to S3, or not the package for
    asynchronous requests. A failure after S3 was read once may pass, and the trigger goes on.

    Args:
        bucket_name: Bucket to watch.
        prefix: What the keys of the objects begin with.
        min_objects: How many objects to wait for.
        include: Only keys that match one of these patterns are counted.
        exclude: Keys that match one of these patterns are not counted.
        aws_conn_id: Connection of type ``aws``; None: the triggerer's own identity.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting.
        poke_interval: Seconds between two checks.
        waits_first: Whether the first check comes after ``poke_interval`` too.
    """

    def __init__(  # noqa: PLR0913 - the arguments of the sensor
        self,
        *,
        bucket_name: str,
        prefix: str,
        min_objects: int,
        include: Sequence[str],
        exclude: Sequence[str],
        aws_conn_id: str | None,
        s3_verify: bool | str | None,
        poke_interval: float,
        waits_first: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bucket_name = bucket_name
        self.prefix = prefix
        self.min_objects = min_objects
        self.include = include
        self.exclude = exclude
        self.aws_conn_id = aws_conn_id
        self.s3_verify = s3_verify
        self.poke_interval = poke_interval
        self.waits_first = waits_first
        self._has_read = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments from which the triggerer recreates the trigger."""
        names = ("bucket_name", "prefix", "min_objects", "aws_conn_id", "s3_verify", "poke_interval")
        arguments = {name: getattr(self, name) for name in names}
        arguments |= {"include": list(self.include), "exclude": list(self.exclude)}
        if self.waits_first:
            # A triggerer of an earlier version does not know it.
            arguments["waits_first"] = True
        return "s3_to_azure.triggers.S3ObjectsTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check until enough objects exist; yield one event, which is empty, or says why the triggerer cannot wait."""
        from s3_to_azure.stores.http.redaction import protect_logs

        # Before the first request, which may be to STS; and again for the loggers that it makes.
        protect_logs()
        event: dict[str, Any] = {}
        try:
            from airflow.providers.amazon.aws.hooks.s3 import S3Hook

            hook = S3Hook(aws_conn_id=self.aws_conn_id, verify=self.s3_verify)
            async with await hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                protect_logs()
                if self.waits_first:
                    await asyncio.sleep(self.poke_interval)
                while not await self._enough_by_now(client):
                    await asyncio.sleep(self.poke_interval)
        except Exception as error:  # noqa: BLE001 - the resumed task reports it
            event = _event_of(error)
            self.log.warning("The triggerer cannot read from S3, so the task tries: %s", event["problem"])
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _enough_by_now(self, client: Any) -> bool:  # noqa: ANN401 - aiobotocore has no types
        """Return whether enough objects exist; not if that cannot be seen at present."""
        try:
            is_enough = await self._enough(client)
        except Exception as error:
            refused = getattr(error, "operation_name", None) == _LIST and not _event_of(error)["may_pass"]
            if refused or not self._has_read:
                raise
            self.log.warning("S3 cannot be read at present: %s", _event_of(error)["problem"])
            return False
        self._has_read = True
        return is_enough

    async def _enough(self, client: Any) -> bool:  # noqa: ANN401 - aiobotocore has no types
        """Return whether ``min_objects`` objects exist; no page is requested after that is known."""
        filters = Filters(include=tuple(self.include), exclude=tuple(self.exclude))
        page_keys = LISTING_PAGE_KEYS if self.include or self.exclude else min(LISTING_PAGE_KEYS, self.min_objects)
        found = 0
        token: dict[str, str] = {}
        while True:
            page = await client.list_objects_v2(Bucket=self.bucket_name, Prefix=self.prefix, MaxKeys=page_keys, **token)
            for item in page.get("Contents", ()):
                listed = ListedObject(self.bucket_name, item["Key"], "", item["Size"], item["LastModified"])
                found += filters.reason_to_skip(listed) is None
            if found >= self.min_objects or not page.get("IsTruncated"):
                return found >= self.min_objects
            token = {"ContinuationToken": page["NextContinuationToken"]}


def _event_of(error: Exception) -> dict[str, Any]:
    """Return why the triggerer cannot read S3, and whether that may pass."""
    from s3_to_azure.model.errors import TransferError, TransientError
    from s3_to_azure.stores.http.redaction import redacted_line
    from s3_to_azure.stores.s3.errors import s3_errors

    may_pass = False
    try:
        with s3_errors(bucket="", key=None):
            raise error
    except TransferError as translated:
        may_pass = isinstance(translated, TransientError)
    text = redacted_line(error, _MAX_PROBLEM)
    return {"problem": f"{type(error).__name__}: {text}", "may_pass": may_pass}
