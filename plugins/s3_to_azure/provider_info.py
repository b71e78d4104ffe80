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
        "transfers": [
            {
                "source-integration-name": "Amazon Simple Storage Service (S3)",
                "target-integration-name": "Microsoft Azure Blob Storage",
                "python-module": "s3_to_azure.operators",
            }
        ],
    }
