"""The package's description for Airflow."""

import importlib.resources
import json
from importlib.metadata import entry_points
from importlib.util import find_spec

import jsonschema  # type: ignore[import-untyped] # its types are a package of their own

from s3_to_azure.provider_info import get_provider_info


def test_validation_by_airflows_schema_does_not_raise() -> None:
    """Airflow's own schema accepts the description: a provider that does not fit is left out of its lists."""
    schema = json.loads(importlib.resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_entry_point_leads_to_the_description() -> None:
    """Airflow finds it where the package is installed, under the name of the distribution."""
    (entry,) = [
        entry for entry in entry_points(group="apache_airflow_provider") if entry.module.startswith("s3_to_azure")
    ]
    assert entry.load() is get_provider_info
    assert get_provider_info()["package-name"] == str(entry.dist.name if entry.dist else "")


def test_the_described_modules_exist() -> None:
    """Airflow imports the module of each transfer."""
    for transfer in get_provider_info()["transfers"]:
        assert find_spec(transfer["python-module"]) is not None
