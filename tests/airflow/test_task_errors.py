"""The last error of a task: noted for the Migration page before it is raised."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, AirflowTaskTimeout

from s3_to_azure.airflow.progress import ERROR_KEY
from s3_to_azure.airflow.task_errors import error_record, raises_task_errors
from s3_to_azure.model.errors import Cancelled, ContainerNotFound, ServerFailed, TransferError, UsageError
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor
from s3_to_azure.stores.http.redaction import hide_setting


class Store(dict[str, Any]):
    """A task state store."""

    def set(self, key: str, value: Any) -> None:
        """Keep what Airflow could."""
        self[key] = json.loads(json.dumps(value))


def context_of(task: Any = None, try_number: int = 3) -> dict[str, Any]:
    """Return a task's context with its store."""
    return {"ti": SimpleNamespace(try_number=try_number), "task": task, "task_state_store": Store()}


def noted(context: dict[str, Any], error: BaseException) -> Any:
    """Return what is noted of an error that a task's function raises; None if nothing is."""

    @raises_task_errors
    def work(_pointer: object, *, context: dict[str, Any]) -> None:
        raise error

    with pytest.raises(type(error)):
        work({"bucket": "b"}, context=context)
    return context["task_state_store"].get(ERROR_KEY)


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (ContainerNotFound(container="archive"), False),
        (UsageError(detail="The filter min_sise does not exist."), False),
        (ServerFailed(service="S3", resource="x", status=500, code="x"), True),
        (ValueError("not ours"), None),
        (AirflowTaskTimeout("Timeout"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_noted_before_it_is_raised(error: BaseException, may_pass: bool | None) -> None:
    """Name, sentence, try and whether it may pass by itself, of our errors and of all others."""
    record = noted(context_of(), error)
    assert (record["error"], record["message"]) == (type(error).__name__, str(error))
    assert (record["may_pass"], record["try_number"], record["is_stop"]) == (may_pass, 3, False)


@pytest.mark.parametrize(
    "told",
    [AirflowSkipException("dry run"), AirflowRescheduleException(None)],  # type: ignore[no-untyped-call]
)
def test_what_is_no_failure_is_not_noted(told: Exception) -> None:
    """By these a task tells Airflow that it is skipped, or looks again later."""
    assert noted(context_of(), told) is None


def test_a_stop_is_one() -> None:
    """The page does not call it a failure of the migration."""
    assert noted(context_of(), Cancelled.now())["is_stop"]


def test_a_note_that_fails_hides_no_error() -> None:
    """The error itself is raised, whatever Airflow does with its note."""
    context = context_of()
    context["task_state_store"] = SimpleNamespace(set=lambda *_: 1 / 0)

    @raises_task_errors
    def work(_: dict[str, Any]) -> None:
        raise UsageError(detail="this one")

    with pytest.raises(UsageError, match="this one"):
        work(context)


def test_without_a_context_nothing_is_noted() -> None:
    """As in a unit test of a DAG."""

    @raises_task_errors
    def work(_: object) -> None:
        raise UsageError(detail="this one")

    with pytest.raises(UsageError):
        work({})


def test_the_record_is_bounded_and_holds_no_secret() -> None:
    """The text of an error that is not ours may hold what it was given."""
    for _ in hide_setting("", {"password": "very-secret-value"}, owner=""):
        pass
    record = error_record(context_of(), RuntimeError("denied: very-secret-value" + "x" * 10_000))
    assert "very-secret-value" not in record["message"]
    assert len(json.dumps(record)) < 4_000


def test_a_task_of_its_own_names_what_it_reads() -> None:
    """A bare operator's key, a prefix, the sensor's address; a batch has a label instead."""

    def subject(task: Any) -> str:
        return str(error_record(context_of(task), ValueError())["subject"])

    def operator(**values: Any) -> S3ToAzureBlobStreamOperator:
        return S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bbb", container_name="ccc", **values)

    assert subject(operator(s3_key="a/one.csv")) == "s3://bbb/a/one.csv"
    assert subject(operator(s3_prefix="a/")) == "s3://bbb/a/"
    assert subject(operator(batch={"plan": "0" * 16, "objects": 1, "size_bytes": 1})) == ""
    assert subject(S3ObjectsSensor(task_id="wait", bucket_name="bbb", prefix="a/")) == "s3://bbb/a/"
    assert subject(None) == ""


def test_the_operator_notes_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing connection, the commonest of all, as a task meets it."""
    monkeypatch.delenv("AIRFLOW_CONN_NOT_THERE", raising=False)
    copy = S3ToAzureBlobStreamOperator(
        task_id="copy", s3_bucket="bbb", container_name="ccc", s3_key="k", aws_conn_id="not_there"
    )
    context = context_of(copy, try_number=1)
    with pytest.raises(TransferError):
        copy.execute(context)  # type: ignore[arg-type]
    record = context["task_state_store"][ERROR_KEY]
    assert "not_there" in record["message"]
    assert (record["subject"], record["may_pass"]) == ("s3://bbb/k", False)
