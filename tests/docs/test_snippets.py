"""Snippets in the pages are valid: data parses, settings exist in Airflow, DAG files load."""

import json
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from airflow.configuration import conf

from tests.docs.pages import ROOT, Block, blocks

_LOAD = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
# A folder for each page: README and the tutorial define the same DAG.
bags = [DagBag(dag_folder=folder) for folder in sys.argv[1:]]
print(json.dumps({
    "errors": {file: error for bag in bags for file, error in bag.import_errors.items()},
    "dags": {dag.fileloc: dag_id for bag in bags for dag_id, dag in bag.dags.items()},
}))
"""


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_parses(block: Block) -> None:
    """A reader may paste it."""
    assert json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_parses(block: Block) -> None:
    """A reader may paste it."""
    assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("block", blocks("ini"), ids=str)
def test_settings_exist_in_airflow(block: Block) -> None:
    """This Airflow knows each setting, except those that it passes to Celery's transport unchecked."""
    settings = ConfigParser()
    settings.read_string(block.text)
    found = [(section, name) for section in settings.sections() for name in settings[section]]
    assert found
    for section, name in found:
        known = conf.configuration_description[section]["options"]
        assert name in known or section == "celery_broker_transport_options", (section, name)


@pytest.mark.slow
def test_dag_files_are_loaded_by_airflow(tmp_path: Path) -> None:
    """Each Python block is a file in a DAGs folder: no import errors, and those that make DAGs have them."""
    names = {}
    for block in blocks("python"):
        file = tmp_path / "pages" / Path(block.page).stem / f"line_{block.line}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        names[str(file)] = block
    assert names
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, *sorted({str(Path(file).parent) for file in names})],
        env={
            "AIRFLOW_HOME": str(tmp_path / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT / "plugins"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["errors"] == {}
    with_dags = {file for file, block in names.items() if re.search(r"migration_dag\(|DAG\(", block.text)}
    assert with_dags
    assert {file for file in names if file in result["dags"]} == with_dags
