"""What the package tells Airflow about itself."""

import importlib.resources
import json

import jsonschema  # type: ignore[import-untyped] # its types are a package of their own

from s3_to_azure.provider_info import get_provider_info


def test_fits_airflows_schema() -> None:
    """Airflow's own schema accepts the description: a provider that does not fit is left out of its lists."""
    schema = json.loads(importlib.resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
