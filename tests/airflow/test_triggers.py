"""The sensor's trigger, as the triggerer runs it."""

import asyncio
import json
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.triggers.base import TriggerEvent

from s3_to_azure import triggers
from s3_to_azure.triggers import S3ObjectsTrigger


def _trigger(bucket: str, **changes: Any) -> S3ObjectsTrigger:
    arguments: dict[str, Any] = {
        "bucket_name": bucket,
        "prefix": "in/",
        "min_objects": 1,
        "include": [],
        "exclude": [],
        "aws_conn_id": None,
        "s3_verify": None,
        "poke_interval": 0.1,
    }
    return S3ObjectsTrigger(**(arguments | changes))


async def _first_event(trigger: S3ObjectsTrigger) -> TriggerEvent:
    return await anext(trigger.run())


@pytest.fixture
def fill(s3_client: Any, bucket: str) -> Any:
    """Return a function that writes objects."""

    def write(*keys: str) -> None:
        for key in keys:
            s3_client.put_object(Bucket=bucket, Key=key, Body=key.encode())

    return write


@pytest.mark.parametrize(("min_objects", "enough"), [(4, True), (5, False)])
def test_the_trigger_counts_over_pages(
    min_objects: int, enough: bool, connections: dict[str, Any], fill: Any, bucket: str, monkeypatch: Any
) -> None:
    """More objects than a page holds are counted to the end."""
    monkeypatch.setattr(triggers, "LISTING_PAGE_KEYS", 2)
    fill(*(f"in/{number}.csv" for number in range(4)), "in/5.tmp")
    trigger = _trigger(bucket, min_objects=min_objects, include=["*.csv"], aws_conn_id=connections["aws_conn_id"])

    async def count() -> bool:
        async with await S3Hook(aws_conn_id=trigger.aws_conn_id).get_async_conn() as client:  # type: ignore[no-untyped-call]
            return await trigger._enough(client)

    assert asyncio.run(count()) is enough


def test_it_fires_once_enough_objects_exist(connections: dict[str, Any], fill: Any, bucket: str) -> None:
    """The event holds nothing: the task checks again, and lists."""
    fill("in/a")
    trigger = _trigger(bucket, aws_conn_id=connections["aws_conn_id"])
    assert asyncio.run(_first_event(trigger)).payload == {}


def test_it_waits_while_there_are_too_few(connections: dict[str, Any], fill: Any, bucket: str) -> None:
    """Excluded keys and other prefixes are not counted."""
    fill("in/a.tmp", "out/b")
    trigger = _trigger(bucket, exclude=["*.tmp"], aws_conn_id=connections["aws_conn_id"])
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(_first_event(trigger), timeout=1.5))


def test_it_fires_too_where_s3_cannot_be_read(connections: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The task then tries itself, and reports the error."""
    trigger = _trigger("no-such-bucket-here", aws_conn_id=connections["aws_conn_id"])
    assert asyncio.run(_first_event(trigger)).payload == {}
    assert "The triggerer cannot read from S3, so the task tries: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "aws", "extra": {"profile_name": "nosuch"}},
        {"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us east"}},
        {"conn_type": "aws", "login": "a", "password": "b", "extra": {"config_kwargs": {"nonsense": 1}}},
    ],
    ids=["profile", "region", "config"],
)
def test_an_unusable_connection_is_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], connection: dict[str, Any]
) -> None:
    """Not a traceback: the task reports the error."""
    monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps(connection))
    assert asyncio.run(_first_event(_trigger("bucket", aws_conn_id="odd"))).payload == {}
    shown = capsys.readouterr().out
    assert "The triggerer cannot read from S3, so the task tries: " in shown
    assert "Traceback" not in shown


def test_the_triggerer_recreates_it_from_its_serialised_form() -> None:
    """Airflow stores the class and the arguments in its database."""
    trigger = _trigger("bucket", include=("*.csv",), min_objects=3, s3_verify="/bundle.pem", aws_conn_id="a")
    path, arguments = trigger.serialize()
    assert path == f"{S3ObjectsTrigger.__module__}.{S3ObjectsTrigger.__name__}"
    assert S3ObjectsTrigger(**arguments).serialize() == (path, arguments)
    assert arguments["include"] == ["*.csv"]
