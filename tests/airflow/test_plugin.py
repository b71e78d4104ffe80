"""The Airflow plugin: found by its entry point, with the pages and their data."""

from importlib.metadata import entry_points

import pytest
from airflow.plugins_manager import AirflowPlugin

from s3_to_azure import plugin
from s3_to_azure.plugin import S3ToAzurePlugin
from s3_to_azure.web.registration import FASTAPI_APPS, react_apps


def test_the_entry_point_leads_to_the_plugin() -> None:
    """Airflow loads it where the package is installed."""
    (entry,) = entry_points(group="airflow.plugins", name="s3_to_azure")
    assert entry.load() is S3ToAzurePlugin
    assert issubclass(S3ToAzurePlugin, AirflowPlugin)


def test_the_plugin_registers_the_pages_and_their_data() -> None:
    """It adds both pages, one application, and nothing else."""
    assert S3ToAzurePlugin.name == "s3_to_azure"
    assert S3ToAzurePlugin.react_apps == react_apps("")
    assert S3ToAzurePlugin.fastapi_apps is FASTAPI_APPS
    assert [page["name"] for page in S3ToAzurePlugin.react_apps] == ["Migration", "Migrations"]
    # With entries for Flask-AppBuilder, Airflow 3.0's API server does not start unless its provider is installed.
    for name in (
        "appbuilder_menu_items",
        "appbuilder_views",
        "macros",
        "flask_blueprints",
        "listeners",
        "timetables",
        "operator_extra_links",
        "global_operator_extra_links",
    ):
        assert not getattr(S3ToAzurePlugin, name, None), name


def test_the_pages_are_below_the_path_of_airflows_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may give Airflow a path of its own."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/team/airflow/")
    assert [page["bundle_url"].partition("/static/")[0] for page in plugin._pages()] == [
        "/team/airflow/s3_to_azure"
    ] * 2
