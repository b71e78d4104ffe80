"""Airflow reads the folders ``dags`` and ``plugins``, here in separate processes as in production."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_HEAVY = ("aiobotocore", "awscrt", "azure", "boto3", "botocore", "requests", "urllib3")
_IMPORTS = f"""
import json, sys
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, Param, task
light = set(sys.modules)
import s3_to_azure_migration
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
S3ToAzureBlobStreamOperator(task_id="checked", s3_bucket="bucket", s3_key="key", container_name="container")
heavy = {{name.partition(".")[0] for name in set(sys.modules) - light}} & set({_HEAVY!r})
print(json.dumps(sorted(heavy)))
"""
_DAG_BAG = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
dags = {dag_id: {"schedule": str(dag.schedule), "tasks": dag.task_ids} for dag_id, dag in bag.dags.items()}
print(json.dumps({"errors": bag.import_errors, "dags": dags}))
"""
_PLUGINS = """
import json, queue, sys, types
import s3_to_azure.model.errors as before
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
import s3_to_azure.model.errors as after
names = [plugin["name"] for plugin in plugins_manager.get_plugin_info()]
ours = [name for name, module in list(sys.modules.items())
        if "plugins/s3_to_azure/" in str(getattr(module, "__file__", "")) and not name.startswith("s3_to_azure")]
print(json.dumps({"errors": plugins_manager.get_import_errors(), "names": names, "bare": ours,
                  "same": before.TransferError is after.TransferError}))
"""


def _python(home: Path, code: str, *arguments: str, **variables: str) -> Any:
    """Run code in a new process configured like Airflow's; return the JSON of its last line."""
    environment = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(_ROOT / "plugins"),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(_ROOT / name) for name in ("plugins", "dags")),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment | variables,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


_ADDRESSES = {"S3_TO_AZURE_SOURCE": "s3://bucket/nightly/", "S3_TO_AZURE_DESTINATION": "az://container/copy"}


@pytest.mark.parametrize("variables", [{}, _ADDRESSES], ids=["unconfigured", "configured"])
def test_parsing_imports_nothing_heavy(variables: dict[str, str], tmp_path: Path) -> None:
    """The DAG processor parses the file every half minute: no SDK, no HTTP library, no checksums.

    An operator without templates checks its settings there too.
    """
    assert _python(tmp_path, _IMPORTS, **variables) == []


def test_example_without_configuration(tmp_path: Path) -> None:
    """Without configuration the example can be parsed, and has no schedule."""
    found = _python(tmp_path, _DAG_BAG, str(_ROOT / "dags"))
    assert found == {
        "errors": {},
        "dags": {"s3_to_azure_migration": {"schedule": "None", "tasks": ["not_configured"]}},
    }


def test_further_examples(tmp_path: Path) -> None:
    """The other examples can be parsed as they are."""
    found = _python(tmp_path, _DAG_BAG, str(_ROOT / "examples"))
    assert found["errors"] == {}
    assert {dag["tasks"][-1] for dag in found["dags"].values()} == {"copy"}
    assert len(found["dags"]) == 3


def test_example_with_configuration(tmp_path: Path) -> None:
    """With configuration, the example runs at 02:00 UTC every night."""
    found = _python(tmp_path, _DAG_BAG, str(_ROOT / "dags"), **_ADDRESSES)
    assert found["errors"] == {}
    dag = found["dags"]["s3_to_azure_migration"]
    assert (dag["schedule"], dag["tasks"]) == (
        "0 2 * * *",
        ["wait_for_objects", "plan", "copy", "report", "check_report"],
    )


def test_example_wrongly_configured(tmp_path: Path) -> None:
    """A wrong address is an import error, whose message Airflow's UI shows."""
    found = _python(tmp_path, _DAG_BAG, str(_ROOT / "dags"), **(_ADDRESSES | {"S3_TO_AZURE_SOURCE": "bucket/nightly"}))
    assert "source 'bucket/nightly' is not an S3 address" in next(iter(found["errors"].values()))


def test_plugins_folder_leaves_the_package_whole(tmp_path: Path) -> None:
    """Airflow loads the plugin once, and executes no module of the package under a bare name."""
    found = _python(tmp_path, _PLUGINS)
    assert found["errors"] == {}
    assert found["names"].count("s3_to_azure") == 1
    assert found["bare"] == []
    assert found["same"] is True
