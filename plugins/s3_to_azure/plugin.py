"""The package's registration with Airflow: what it adds to the UI and the API."""

from airflow.plugins_manager import AirflowPlugin

from s3_to_azure.web.registration import FASTAPI_APPS, REACT_APPS


class S3ToAzurePlugin(AirflowPlugin):
    """S3 to Azure Blob Storage: operator, sensor and DAG need no registration, they are imported."""

    name = "s3_to_azure"
    fastapi_apps = FASTAPI_APPS
    react_apps = REACT_APPS
