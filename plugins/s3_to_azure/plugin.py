"""The Airflow plugin: the pages that it adds to the UI, and their data."""

from airflow.plugins_manager import AirflowPlugin

from s3_to_azure.web.registration import FASTAPI_APPS, REACT_APPS


class S3ToAzurePlugin(AirflowPlugin):
    """Registers the pages; operator, sensor and DAG are imported and need no registration."""

    name = "s3_to_azure"
    fastapi_apps = FASTAPI_APPS
    react_apps = REACT_APPS
