"""Registers the package with Airflow where it lies in a plugins folder, nothing else."""

from importlib.metadata import entry_points

__all__: list[str] = []

# Installed, the package registers itself, and Airflow shows a second registration as an import error in its UI.
if not entry_points(group="airflow.plugins", name="s3_to_azure"):
    from s3_to_azure.plugin import S3ToAzurePlugin

    __all__ += ["S3ToAzurePlugin"]
