"""Azure Blob Storage: staging and committing blocks, listing blobs, and a run's state files."""
