"""One task for each object: the examples in real Airflow, and what is wrong is named."""

import importlib.util
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from azure.storage.blob import ContainerClient

from s3_to_azure.model.errors import UsageError
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor
from tests.airflow.airflow_runs import Run, run_dag

_EXAMPLE = Path(__file__).parents[2] / "examples/one_task_for_each_object.py"
# Each would be another name if it were rendered.
KEYS = ["daily/a.csv", "daily/b/{{ 7 * 7 }}.csv", "daily/{% raw %}.csv", "daily/{{ dag.dag_id }}"]


@pytest.fixture
def _objects(s3_client: Any, bucket: str) -> None:
    for key in [*KEYS, "other/x"]:
        s3_client.put_object(Bucket=bucket, Key=key, Body=key.encode(), ChecksumAlgorithm="CRC64NVME")
    s3_client.put_object(Bucket=bucket, Key="daily/folder/", Body=b"")


@pytest.fixture
def examples(
    connections: dict[str, Any], bucket: str, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> dict[str, DAG]:
    """Return the examples' DAGs, which use Airflow's default connections."""
    monkeypatch.setenv("EXAMPLE_BUCKET", bucket)
    monkeypatch.setenv("EXAMPLE_CONTAINER", container.container_name)
    for name in ("aws", "wasb"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}_DEFAULT", os.environ[f"AIRFLOW_CONN_{name.upper()}_LOCAL"])
    specification = importlib.util.spec_from_file_location(f"example_{uuid4().hex}", _EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return {dag.dag_id: dag for dag in vars(module).values() if isinstance(dag, DAG)} | _named(module)


def _named(module: Any) -> dict[str, DAG]:
    """Return the DAGs of the module's tasks: the example keeps none in a variable."""
    tasks = [task for task in vars(module).values() if hasattr(task, "task_id")]
    return {task.dag.dag_id: task.dag for task in tasks}


def _copied(run: Run) -> dict[str, str]:
    return {task.xcom["key"]: task.xcom["blob"] for task in run.tasks["copy"]}


@pytest.mark.usefixtures("_objects")
@pytest.mark.parametrize("dag_id", ["copy_what_the_sensor_lists", "copy_to_another_folder"])
def test_maps_over_the_sensor(dag_id: str, examples: dict[str, DAG], container: ContainerClient) -> None:
    """Each object has a task; no key and no blob's name is rendered, in ``expand`` or in ``expand_kwargs``."""
    ran = run_dag(examples[dag_id])
    assert ran.state == "success"
    folder = "daily/" if dag_id == "copy_what_the_sensor_lists" else "copies/"
    names = {key: folder + key.removeprefix("daily/") for key in KEYS}
    assert _copied(ran) == names
    assert {name: container.download_blob(name).readall().decode() for name in container.list_blob_names()} == {
        name: key for key, name in names.items()
    }


@pytest.mark.usefixtures("_objects")
def test_maps_over_airflows_own_list(
    examples: dict[str, DAG], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Airflow's ``S3ListOperator`` lists folder markers too, which have no blob."""
    s3_client.delete_object(Bucket=bucket, Key="daily/folder/")
    ran = run_dag(examples["copy_what_airflow_lists"])
    assert ran.state == "success"
    assert _copied(ran) == {key: key for key in KEYS}
    assert set(container.list_blob_names()) == set(KEYS)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the errors of the sensors are added."""
    caught: list[str] = []
    execute = S3ObjectsSensor.execute

    def recorded(self: S3ObjectsSensor, context: Any) -> Any:
        try:
            return execute(self, context)
        except UsageError as error:
            caught.append(str(error))
            raise

    monkeypatch.setattr(S3ObjectsSensor, "execute", recorded)
    return caught


@pytest.fixture
def mapped(connections: dict[str, Any], bucket: str, container: ContainerClient) -> Any:
    """Return a function that runs a sensor and maps the operator over what a function makes of it."""

    def run(expand: Any, **sensor: Any) -> Run:
        with DAG(f"mapped-{uuid4().hex}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            usual: dict[str, Any] = {"bucket_name": bucket, "prefix": "daily/", "retries": 0}
            wait = S3ObjectsSensor(task_id="wait", **(usual | connections | sensor))
            places = connections | {"s3_bucket": bucket, "container_name": container.container_name, "retries": 0}
            expand(S3ToAzureBlobStreamOperator.partial(task_id="copy", **places), wait)
        return run_dag(dag)

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("_objects")
def test_more_keys_than_airflow_maps(
    mapped: Any, container: ContainerClient, failures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied, and the error names what has no limit."""
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", str(len(KEYS) - 1))
    ran = mapped(lambda copy, wait: copy.expand(s3_key=wait.keys()))
    assert ran.only("wait").state == "failed"
    assert "s3_to_azure.dag.migration_dag" in failures[0]
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", str(len(KEYS)))
    assert mapped(lambda copy, wait: copy.expand(s3_key=wait.keys())).state == "success"
    assert set(container.list_blob_names()) == set(KEYS)


@pytest.mark.slow
@pytest.mark.usefixtures("_objects")
@pytest.mark.parametrize("has_state", [False, True])
def test_the_sensors_output_is_no_list_of_keys(
    has_state: bool, mapped: Any, container: ContainerClient, failures: list[str]
) -> None:
    """Whoever maps over the pointer reads how to map over the keys, and what needs no mapping."""
    state = {"state_container": container.container_name} if has_state else {}
    ran = mapped(lambda copy, wait: copy.expand(s3_key=wait.output), **state)
    assert ran.only("wait").state == "failed"
    assert "expand(s3_key=sensor.keys())" in failures[0]
    assert "s3_to_azure.dag.migration_dag" in failures[0]
    assert set(container.list_blob_names()) == set()


@pytest.mark.parametrize("wrong", [("bucket", "b"), {"key": "k"}, ["k"], 7])
@pytest.mark.parametrize("name", ["s3_key", "s3_prefix", "batch"])
def test_a_value_of_another_kind_selects_nothing(name: str, wrong: Any) -> None:
    """The error names how to map, because such a value comes from a mapping over something else."""
    if name == "batch" and isinstance(wrong, dict):
        pytest.skip("a batch is a mapping")
    with pytest.raises(UsageError, match="migration_dag"):
        S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bucket", container_name="container", **{name: wrong})


def test_keys_and_a_listing_are_two_things() -> None:
    """A sensor with a state container returns the pointer."""
    sensor = S3ObjectsSensor(task_id="wait", bucket_name="bucket", state_container="state")
    with pytest.raises(UsageError, match="state_container"):
        sensor.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("_objects")
def test_templates_of_the_author_are_rendered(mapped: Any, container: ContainerClient) -> None:
    """Also beside keys that a task passes on, and in mappings that the author wrote down."""
    ran = mapped(
        lambda copy, wait: copy.expand_kwargs(
            [{"s3_prefix": "daily/{{ 'a' }}", "blob_prefix": "{{ task.task_id }}/"}, {"s3_key": "daily/{{ 'a' }}.csv"}]
        )
    )
    assert ran.state == "success"
    assert set(container.list_blob_names()) == {"copy/.csv", "daily/a.csv"}


@pytest.mark.slow
def test_include_and_exclude_select_the_keys(
    mapped: Any, s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """What is not counted is not copied."""
    for key in ("daily/a.csv", "daily/b.tmp", "daily/c.csv"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"1")
    ran = mapped(lambda copy, wait: copy.expand(s3_key=wait.keys()), include=["*.csv"], exclude=["*/c*"])
    assert ran.state == "success"
    assert set(container.list_blob_names()) == {"daily/a.csv"}


def test_a_subclass_with_a_template_field_of_its_own() -> None:
    """Its field is set after ours are checked."""

    class Noted(S3ToAzureBlobStreamOperator):
        template_fields = (*S3ToAzureBlobStreamOperator.template_fields, "note")

        def __init__(self, *, note: str, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.note = note

    noted = Noted(task_id="copy", note="{{ ds }}", s3_bucket="bucket", container_name="container", s3_key="k")
    assert noted.note == "{{ ds }}"
    with pytest.raises(UsageError, match="memory_budget"):
        Noted(task_id="copy", note="", s3_bucket="bucket", container_name="container", s3_key="k", memory_budget="lots")
