"""Azure Blob Storage: staging and committing blocks, listing blobs, a run's state files."""
