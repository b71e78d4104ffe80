"""The edge to S3 and Azure Blob Storage: the only room that knows boto3, requests and azure."""
