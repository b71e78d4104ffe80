"""The wait of ``S3ObjectsSensor`` in the triggerer: it only counts, and never lists more than it must."""
# ruff: noqa: ASYNC110, PLC0415 - S3 must be asked again and again; aiobotocore is imported where the trigger runs

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import LISTING_PAGE_KEYS
from s3_to_azure.model.objects import ListedObject


class S3ObjectsTrigger(BaseTrigger):
    """Fire once enough objects are there. Where S3 cannot be asked the task looks itself, and names the error.

    Args:
        bucket_name: Bucket to watch.
        prefix: Where the objects are.
        min_objects: How many must be there.
        include: Only keys that match one of these patterns count.
        exclude: Keys that match one of these do not count.
        aws_conn_id: Connection of type ``aws``; None: the triggerer's own identity.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: as the connection says.
        poke_interval: Seconds between the looks.
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
        """Keep the arguments; nothing is connected."""
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
        """Return what the triggerer makes the trigger from again."""
        names = ("bucket_name", "prefix", "min_objects", "aws_conn_id", "s3_verify", "poke_interval")
        arguments = {name: getattr(self, name) for name in names}
        patterns = {"include": list(self.include), "exclude": list(self.exclude)}
        return "s3_to_azure.triggers.S3ObjectsTrigger", arguments | patterns

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to tell."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        from s3_to_azure.stores.http.errors import protect_logs, redact

        hook = S3Hook(aws_conn_id=self.aws_conn_id, verify=self.s3_verify)
        try:
            async with await hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                protect_logs()
                while not await self._enough(client):
                    await asyncio.sleep(self.poke_interval)
        except Exception as error:  # noqa: BLE001 - whatever it is, the task meets it too and names it better
            self.log.warning("S3 cannot be asked from here, the task looks itself: %s", redact(str(error)))
            # Not at once: the task might find too little, and come straight back.
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    async def _enough(self, client: Any) -> bool:  # noqa: ANN401 - aiobotocore has no types
        """Say whether ``min_objects`` are there; a page that shows it is the last one asked for."""
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
