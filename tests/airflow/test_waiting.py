"""A deferred sensor: its one deadline, a triggerer that cannot wait, and what it remembers of earlier pokes."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from s3_to_azure.airflow import s3_hook, waiting
from s3_to_azure.airflow.waiting import DEADLINE_KEY, first_deadline
from s3_to_azure.model.errors import Cancelled, CredentialsUnavailable, UsageError
from s3_to_azure.sensors import S3ObjectsSensor
from s3_to_azure.transfer import watchdog
from tests.fakes.memory_source import MemorySource

BUCKET = "bucket"
START = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT = timedelta(minutes=10)


class Clock:
    """A clock that tests set; it replaces ``datetime`` where deadlines are computed."""

    def __init__(self) -> None:
        self.moment = START
        self.fromisoformat = datetime.fromisoformat

    def now(self, _zone: object) -> datetime:
        """Return the time."""
        return self.moment


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of both modules."""
    made = Clock()
    monkeypatch.setattr(waiting, "datetime", made)
    monkeypatch.setattr("s3_to_azure.sensors.datetime", made)
    return made


class Store(dict[str, Any]):
    """Airflow's ``task_state_store``."""

    set = dict.__setitem__


class BrokenStore:
    """One that cannot be reached."""

    def get(self, key: str) -> object:
        """Fail."""
        raise OSError("the API server is away")

    set = get


def context_of(try_number: int = 1, max_tries: int = 2, store: Any = None) -> Any:
    """Return the context of a try; a task that is cleared gets more tries."""
    return {"ti": SimpleNamespace(try_number=try_number, max_tries=max_tries), "task_state_store": store}


def sensor(**changes: Any) -> S3ObjectsSensor:
    """Return a deferrable sensor that may retry twice, and finds nothing."""
    options: dict[str, Any] = {"deferrable": True, "poke_interval": 60, "timeout": TIMEOUT, "retries": 2}
    made = S3ObjectsSensor(task_id="wait", bucket_name=BUCKET, prefix="in/", **(options | changes))
    made.poke = lambda context: False  # type: ignore[method-assign]
    return made


def deferred(act: Any, *arguments: Any, **keywords: Any) -> TaskDeferred:
    """Return how the sensor defers itself."""
    with pytest.raises(TaskDeferred) as caught:
        act(*arguments, **keywords)
    return caught.value


def test_each_deferral_waits_until_the_first_deadline(clock: Clock) -> None:
    """Objects that came and went, or a trigger that fired in vain, do not begin the wait anew."""
    waiting_now = deferred(sensor().execute, {})
    assert waiting_now.timeout == TIMEOUT
    assert not waiting_now.trigger.waits_first
    for minutes in (3, 9):
        clock.moment = START + timedelta(minutes=minutes)
        # The task resumes in another process.
        waiting_now = deferred(sensor().execute_complete, {}, {}, **(waiting_now.kwargs or {}))
        assert waiting_now.timeout == TIMEOUT - timedelta(minutes=minutes)
        assert waiting_now.trigger.waits_first
    clock.moment = START + TIMEOUT
    with pytest.raises(AirflowSensorTimeout, match="until 2026-01-01T00:10:00"):
        sensor().execute_complete({}, {}, **(waiting_now.kwargs or {}))


def test_deadline_is_kept_by_the_same_sensor(clock: Clock) -> None:
    """Airflow passes it on; without that, the operator itself knows."""
    waits = sensor()
    deferred(waits.execute, {})
    clock.moment = START + timedelta(minutes=4)
    assert deferred(waits.execute_complete, {}, {}).timeout == timedelta(minutes=6)


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_end_of_the_wait_skips_where_a_failure_does(clock: Clock, option: str) -> None:
    """As in every Airflow sensor."""
    first = deferred(sensor(**{option: True}).execute, {})
    clock.moment = START + TIMEOUT
    with pytest.raises(AirflowSkipException):
        sensor(**{option: True}).execute_complete({}, {}, **(first.kwargs or {}))


def test_retry_keeps_the_first_deadline(clock: Clock) -> None:
    """A try that failed for a moment does not begin the wait anew."""
    store = Store()
    deferred(sensor().execute, context_of(store=store))
    clock.moment = START + timedelta(minutes=7)
    assert deferred(sensor().execute, context_of(2, store=store)).timeout == timedelta(minutes=3)
    clock.moment = START + timedelta(minutes=11)
    with pytest.raises(AirflowSensorTimeout):
        sensor().execute(context_of(3, store=store))


def test_cleared_task_waits_anew(clock: Clock) -> None:
    """Somebody who clears the sensor the next day wants it to wait."""
    store = Store()
    deferred(sensor().execute, context_of(store=store))
    clock.moment = START + timedelta(days=1)
    cleared = context_of(2, max_tries=3, store=store)
    assert deferred(sensor().execute, cleared).timeout == TIMEOUT
    clock.moment += timedelta(minutes=1)
    assert deferred(sensor().execute, context_of(3, max_tries=3, store=store)).timeout == TIMEOUT - timedelta(minutes=1)


@pytest.mark.parametrize("noted", [None, "text", {"first_try": 1}, {"first_try": 1, "until": "soon"}, {"until": "x"}])
def test_damaged_note_only_lengthens_the_wait(clock: Clock, noted: Any) -> None:
    """It is a note, and may be lost."""
    assert first_deadline(context_of(2, store=Store({DEADLINE_KEY: noted})), timeout_s=60, retries=2) == (
        clock.moment + timedelta(seconds=60)
    )


def test_store_that_fails_does_not_fail_the_sensor(clock: Clock) -> None:
    """So does one that is not there, as before Airflow 3.3."""
    for store in (BrokenStore(), None):
        assert first_deadline(context_of(2, store=store), timeout_s=60, retries=2) == clock.moment + timedelta(
            minutes=1
        )


PROBLEM = "NoCredentialsError: Unable to locate credentials"


def test_triggerer_that_cannot_wait_is_told(clock: Clock) -> None:
    """The task fails with what to do, instead of waiting until its deadline."""
    with pytest.raises(UsageError, match=rf"{PROBLEM}.*aiobotocore.*deferrable=False"):
        sensor().execute_complete({}, {"problem": PROBLEM, "may_pass": False})
    with pytest.raises(CredentialsUnavailable, match=PROBLEM):
        sensor().execute_complete({}, {"problem": PROBLEM, "may_pass": True})


def test_triggerer_does_not_matter_where_the_objects_are_there() -> None:
    """The worker reads S3 itself."""
    waits = sensor()
    waits.poke = lambda context: True  # type: ignore[method-assign]
    assert waits.execute_complete({}, {"problem": PROBLEM, "may_pass": False}) is None


class Source(MemorySource):
    """S3, which is closed after each poke."""

    def close(self) -> None:
        """Close nothing."""


@pytest.mark.parametrize(
    ("context", "worked"),
    [
        ({}, False),
        ({"ti": SimpleNamespace(try_number=1)}, False),
        ({"ti": SimpleNamespace(try_number=2)}, True),
        ({"ti": SimpleNamespace(try_number=1), "task_reschedule_count": 0}, False),
        ({"ti": SimpleNamespace(try_number=1), "task_reschedule_count": 3}, True),
    ],
)
def test_sensor_knows_whether_its_credentials_worked_before(
    monkeypatch: pytest.MonkeyPatch, context: Any, worked: bool
) -> None:
    """An earlier poke, in another process, or an earlier try has used them: a failure to renew them may pass."""
    given: list[bool] = []

    def s3_source(*_: object, worked_before: bool, **__: object) -> Source:
        given.append(worked_before)
        source = Source(BUCKET)
        source.put(BUCKET, "in/a", b"x")
        return source

    monkeypatch.setattr(s3_hook, "s3_source", s3_source)
    waits = S3ObjectsSensor(task_id="wait", bucket_name=BUCKET, prefix="in/")
    assert waits.poke(context) is True
    assert waits.poke(context) is True
    assert given == [worked, True]


class Hanging(Source):
    """S3 that never answers."""

    def __init__(self) -> None:
        """Wait for ``released``."""
        super().__init__(BUCKET)
        self.asked = threading.Event()
        self.released = threading.Event()

    def list(self, *_: Any, **__: Any) -> Any:
        """Hang."""
        self.asked.set()
        self.released.wait(60)
        return iter(())


@pytest.mark.parametrize("before", [False, True])
def test_on_kill_ends_a_poke_that_hangs(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """Also if it is called just before the poke begins; Airflow would end the process two seconds later."""
    source = Hanging()
    monkeypatch.setattr(s3_hook, "s3_source", lambda *_, **__: source)
    monkeypatch.setattr(watchdog, "TASK_GRACE_S", 0.05)
    waits = S3ObjectsSensor(task_id="wait", bucket_name=BUCKET, prefix="in/")

    def kill() -> None:
        source.asked.wait(60)
        waits.on_kill()

    if before:
        waits.on_kill()
    else:
        threading.Thread(target=kill, daemon=True).start()
    try:
        with pytest.raises(Cancelled):
            waits.poke({})
    finally:
        source.released.set()
