"""The sensor's trigger, as the triggerer runs it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.triggers.base import TriggerEvent
from botocore.exceptions import ClientError, CredentialRetrievalError, EndpointConnectionError, NoCredentialsError

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
    event = asyncio.run(_first_event(trigger)).payload
    assert "NoSuchBucket" in event["problem"], event
    assert not event["may_pass"]
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
    assert asyncio.run(_first_event(_trigger("bucket", aws_conn_id="odd"))).payload["problem"]
    shown = capsys.readouterr().out
    assert "The triggerer cannot read from S3, so the task tries: " in shown
    assert "Traceback" not in shown


class Client:
    """An asynchronous client that fails as told, and then lists one object."""

    def __init__(self, *outcomes: Exception | int) -> None:
        """Fail, or list this many objects, one outcome after the other."""
        self.outcomes = list(outcomes)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""

    async def list_objects_v2(self, **_: Any) -> dict[str, Any]:
        """Return a page, or fail."""
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        item = {"Key": "in/a", "Size": 1, "LastModified": datetime(2026, 1, 1, tzinfo=UTC)}
        return {"Contents": [item] * outcome, "IsTruncated": False}


def of(code: str, status: int, operation: str = "ListObjectsV2") -> ClientError:
    """Return a refusal."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def _event(monkeypatch: pytest.MonkeyPatch, opened: Client | Exception, **changes: Any) -> dict[str, Any]:
    """Run a trigger whose client is this one, or cannot be opened; return its event."""

    async def open_client(_: S3Hook) -> Client:
        if isinstance(opened, Exception):
            raise opened
        return opened

    monkeypatch.setattr(S3Hook, "get_async_conn", open_client)
    payload: dict[str, Any] = asyncio.run(_first_event(_trigger("bucket", poke_interval=0.001, **changes))).payload
    return payload


BLIPS: list[Exception] = [
    of("SlowDown", 503),
    of("InternalError", 500),
    of("AccessDenied", 403, "AssumeRole"),
    EndpointConnectionError(endpoint_url="http://s3"),
    CredentialRetrievalError(provider="iam-role", error_msg="timed out"),
    NoCredentialsError(),
    RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
]


@pytest.mark.parametrize("blip", BLIPS, ids=lambda error: type(error).__name__)
def test_a_failure_after_s3_was_read_is_waited_out(monkeypatch: pytest.MonkeyPatch, blip: Exception) -> None:
    """S3, the network, or what provides the triggerer's credentials is down for a moment of a long wait."""
    client = Client(0, blip, 0, blip, 1)
    assert _event(monkeypatch, client) == {}
    assert client.outcomes == []


@pytest.mark.parametrize("refusal", [of("NoSuchBucket", 404), of("AccessDenied", 403)])
def test_a_refusal_of_s3_is_not_waited_out(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    """The bucket was deleted, or its policy changed."""
    event = _event(monkeypatch, Client(0, refusal))
    assert (event["problem"], event["may_pass"]) == (f"ClientError: {refusal}", False)


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (ModuleNotFoundError("No module named 'aiobotocore'"), False),
        (NoCredentialsError(), False),
        (RuntimeError("Unable to locate credentials"), False),
        (of("InvalidAccessKeyId", 403), False),
        (CredentialRetrievalError(provider="iam-role", error_msg="timed out"), True),
        (EndpointConnectionError(endpoint_url="http://s3"), True),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("opens", [False, True])
def test_a_triggerer_that_cannot_read_s3_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception, may_pass: bool, opens: bool
) -> None:
    """Without credentials, without a route, or without the package for asynchronous requests there is no waiting."""
    event = _event(monkeypatch, Client(error) if opens else error)
    assert event == {"problem": f"{type(error).__name__}: {error}", "may_pass": may_pass}


def test_secrets_do_not_reach_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow stores it, and shows it."""
    event = _event(monkeypatch, RuntimeError("failed:\nclient_secret=SeCrEtSeCrEt " + "x" * 1_000))
    assert "SeCrEt" not in event["problem"]
    assert "\n" not in event["problem"]
    assert len(event["problem"]) < 600


def test_a_second_trigger_does_not_fire_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the triggerer sees objects that the task does not see, they would not ask each other without a pause."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert _event(monkeypatch, Client(1)) == {}
    assert slept == []
    assert _event(monkeypatch, Client(1), waits_first=True) == {}
    assert slept == [0.001]


def test_the_triggerer_recreates_it_from_its_serialised_form() -> None:
    """Airflow stores the class and the arguments in its database."""
    trigger = _trigger("bucket", include=("*.csv",), min_objects=3, s3_verify="/bundle.pem", aws_conn_id="a")
    path, arguments = trigger.serialize()
    assert path == f"{S3ObjectsTrigger.__module__}.{S3ObjectsTrigger.__name__}"
    assert S3ObjectsTrigger(**arguments).serialize() == (path, arguments)
    assert arguments["include"] == ["*.csv"]
    assert "waits_first" not in arguments
    path, arguments = _trigger("bucket", waits_first=True).serialize()
    assert S3ObjectsTrigger(**arguments).waits_first
