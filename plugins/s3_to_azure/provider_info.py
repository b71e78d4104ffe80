"""The package as ``airflow providers`` shows it; read at every start of Airflow, so it imports nothing."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the package's description in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "s3-to-azure",
        "name": "S3 to Azure Blob Storage",
        "description": "Copies objects from AWS S3 to Azure Blob Storage: streamed, proven, resumable.",
        "integrations": [
            {
                "integration-name": "S3 to Azure Blob Storage",
                "external-doc-url": "https://learn.microsoft.com/azure/storage/blobs/",
                "tags": ["aws", "azure"],
            }
        ],
        "config": {
            "s3_to_azure": {
                "description": "The pages of S3 to Azure in Airflow's UI.",
                "options": {
                    "report_connections": {
                        "description": (
                            "Airflow connections with which the API server may read the reports of migrations from "
                            "their state containers, separated by commas. By default it may read none."
                        ),
                        "version_added": None,
                        "type": "string",
                        "example": "wasb_default, wasb_archive",
                        "default": "",
                    }
                },
            }
        },
        "transfers": [
            {
                "source-integration-name": "Amazon Simple Storage Service (S3)",
                "target-integration-name": "Microsoft Azure Blob Storage",
                "python-module": "s3_to_azure.operators",
            }
        ],
    }
