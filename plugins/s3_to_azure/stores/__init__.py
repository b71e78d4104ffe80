"""Clients for S3 and Azure Blob Storage: the only folder that knows boto3, azure-storage-blob, requests and libcurl."""
