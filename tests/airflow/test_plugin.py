"""The Airflow plugin: found by its entry point, with the pages and their data."""

from importlib.metadata import entry_points

from airflow.plugins_manager import AirflowPlugin

from s3_to_azure.plugin import S3ToAzurePlugin
from s3_to_azure.web.registration import FASTAPI_APPS, REACT_APPS


def test_the_entry_point_leads_to_the_plugin() -> None:
    """Airflow loads it where the package is installed."""
    (entry,) = entry_points(group="airflow.plugins", name="s3_to_azure")
    assert entry.load() is S3ToAzurePlugin
    assert issubclass(S3ToAzurePlugin, AirflowPlugin)


def test_the_plugin_registers_the_pages_and_their_data() -> None:
    """It adds both pages, one application, and nothing else."""
    assert S3ToAzurePlugin.name == "s3_to_azure"
    assert S3ToAzurePlugin.react_apps is REACT_APPS
    assert S3ToAzurePlugin.fastapi_apps is FASTAPI_APPS
    assert [page["name"] for page in REACT_APPS] == ["Migration", "Migrations"]
    for name in (
        "macros",
        "flask_blueprints",
        "listeners",
        "timetables",
        "operator_extra_links",
        "global_operator_extra_links",
    ):
        assert not getattr(S3ToAzurePlugin, name, None), name
