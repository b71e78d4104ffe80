"""The Airflow plugin: the pages that it adds to the UI, and their data."""

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from s3_to_azure.web.registration import FASTAPI_APPS, react_apps


def _pages() -> list[dict[str, Any]]:
    """Return the pages below the path that a proxy gives Airflow."""
    return react_apps(urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/"))


class S3ToAzurePlugin(AirflowPlugin):
    """Registers the pages; operator, sensor and DAG are imported and need no registration."""

    name = "s3_to_azure"
    fastapi_apps = FASTAPI_APPS
    react_apps = _pages()
