"""Copy objects from AWS S3 to Azure Blob Storage: streamed, proven, resumable."""

__version__ = "0.2.0"
