"""Airflow parses DAGs that can write the same blobs: they load, with a warning that names both."""

import gc
import warnings
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from s3_to_azure.airflow.compat import DAG
from s3_to_azure.dag import migration_dag
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.planning import overlap


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what earlier tests have parsed."""
    monkeypatch.setattr(overlap, "_parsed", {})


_FILE = """
from airflow.sdk import DAG
from s3_to_azure.dag import migration_dag
{}
"""


@pytest.mark.usefixtures("parsed")
@pytest.mark.filterwarnings("default:.* can write the same blobs:UserWarning")
@pytest.mark.parametrize("files", [1, 2], ids=["one file", "two files"])
def test_parsing_warns(files: int, tmp_path: Path) -> None:
    """Airflow keeps the warning with the file, and both DAGs load."""
    calls = [f"migration_dag('{year}', 's3://bucket/{year}/', 'az://backup/all')" for year in (2025, 2026)]
    pieces = calls if files == 2 else ["\n".join(calls)]
    for number, text in enumerate(pieces):
        (tmp_path / f"file_{number}.py").write_text(_FILE.format(text))
    bag = DagBag(dag_folder=tmp_path)
    assert set(bag.dags) == {"2025", "2026"}
    assert bag.import_errors == {}
    (text,) = [text for texts in bag.captured_warnings.values() for text in texts]
    # The folder's files come in any order.
    for part in ("'2025'", "'2026'", "'s3://bucket/2025/' to 'az://backup/all/'", "can write the same blobs"):
        assert part in text


@pytest.mark.usefixtures("parsed")
def test_parsing_the_same_file_again_is_no_overlap(tmp_path: Path) -> None:
    """A worker parses a DAG again and again, also after its source has changed."""
    for year in (2025, 2026):
        (tmp_path / "file.py").write_text(_FILE.format(f"migration_dag('d', 's3://bucket/{year}/', 'az://backup/all')"))
        bag = DagBag(dag_folder=tmp_path)
        assert (set(bag.dags), bag.captured_warnings) == ({"d"}, {})


@pytest.mark.usefixtures("parsed")
def test_a_dag_that_is_gone_overlaps_with_none() -> None:
    """Its id was changed, and the file parsed again in the same process."""
    migration_dag("before", "s3://bucket/2025/", "az://backup/all")
    gc.collect()
    with warnings.catch_warnings(record=True) as warned:
        migration_dag("after", "s3://bucket/2026/", "az://backup/all")
    assert warned == []


@pytest.mark.usefixtures("parsed")
def test_tasks_of_a_dag_of_ones_own_count_too() -> None:
    """One object, and all below a prefix; a task that is mapped over keys is known only when it runs."""
    place: dict[str, Any] = {"s3_bucket": "bucket", "container_name": "backup"}
    held = migration_dag("nightly", "s3://bucket/in/", "az://backup/all")
    with DAG("own", schedule=None) as dag:
        with pytest.warns(UserWarning, match=r"'own.one' .* can write the same blobs as 'nightly': 's3://bucket/in/'"):
            S3ToAzureBlobStreamOperator(task_id="one", s3_key="other/a", blob_prefix="all", **place)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            S3ToAzureBlobStreamOperator(task_id="same", s3_key="in/b", blob_name="all/b", **place)
            S3ToAzureBlobStreamOperator.partial(task_id="mapped", blob_prefix="all", **place).expand(s3_key=["x"])
            S3ToAzureBlobStreamOperator(task_id="listed", **place | {"s3_key": dag.task_dict["one"].output})
            S3ToAzureBlobStreamOperator(
                task_id="elsewhere", s3_prefix="z/", blob_prefix="all/", wasb_extra_args={"public_read": True}, **place
            )
        with pytest.warns(UserWarning, match=r"'own.all' .* 'nightly': .*; 'own.one': 's3://bucket/other/a' to 'az:"):
            S3ToAzureBlobStreamOperator(task_id="all", s3_prefix="more/", blob_prefix="all/", **place)
    assert held.dag_id == "nightly"
