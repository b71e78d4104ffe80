"""The package's registration with Airflow: what it adds to the UI and the API."""

from airflow.plugins_manager import AirflowPlugin


class S3ToAzurePlugin(AirflowPlugin):
    """S3 to Azure Blob Storage: operator, sensor and DAG need no registration, they are imported."""

    name = "s3_to_azure"
