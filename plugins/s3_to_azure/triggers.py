"""The trigger of ``S3ObjectsSensor``: it counts objects, and lists no more of them than it needs to."""
# ruff: noqa: ASYNC110, PLC0415 - S3 can only be polled; aiobotocore is imported where the trigger runs

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import LISTING_PAGE_KEYS
from s3_to_azure.model.objects import ListedObject


class S3ObjectsTrigger(BaseTrigger):
    """Fires once enough objects exist, or one ``poke_interval`` after the triggerer could not read S3.

    In the second case the resumed task reads S3 itself, with the worker's credentials, and reports its error if it
    meets one.

    Args:
        bucket_name: Bucket to watch.
        prefix: What the keys of the objects begin with.
        min_objects: How many objects to wait for.
        include: Only keys that match one of these patterns are counted.
        exclude: Keys that match one of these patterns are not counted.
        aws_conn_id: Connection of type ``aws``; None: the triggerer's own identity.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting.
        poke_interval: Seconds between two checks.
    """

    def __init__(
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

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments from which the triggerer recreates the trigger."""
        names = ("bucket_name", "prefix", "min_objects", "aws_conn_id", "s3_verify", "poke_interval")
        arguments = {name: getattr(self, name) for name in names}
        patterns = {"include": list(self.include), "exclude": list(self.exclude)}
        return "s3_to_azure.triggers.S3ObjectsTrigger", arguments | patterns

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check until enough objects exist; yield one event."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        from s3_to_azure.stores.http.redaction import protect_logs, redact

        # Before the first request, which may be to STS; and again for the loggers that it makes.
        protect_logs()
        try:
            hook = S3Hook(aws_conn_id=self.aws_conn_id, verify=self.s3_verify)
            async with await hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                protect_logs()
                while not await self._enough(client):
                    await asyncio.sleep(self.poke_interval)
        except Exception as error:  # noqa: BLE001 - the task meets any of these errors too, and reports it better
            text = " ".join(f"{type(error).__name__}: {redact(str(error))}".split())
            self.log.warning("The triggerer cannot read from S3, so the task tries: %s", text)
            # Not at once: a task that finds too few objects would come straight back.
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

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
