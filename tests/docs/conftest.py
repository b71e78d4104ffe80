"""Airflow's settings for these tests, independent of the developer's own."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Airflow reads its settings when it is imported; another folder's tests may have set them before.
if "AIRFLOW_HOME" not in os.environ:
    _HOME = tempfile.mkdtemp(prefix="airflow-docs-")
    atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
    os.environ.update(AIRFLOW_HOME=_HOME, AIRFLOW__CORE__LOAD_EXAMPLES="False")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Airflow and its dependencies deprecate each other."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
