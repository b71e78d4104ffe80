"""S3 and Azure Blob Storage as real servers on loopback, for the demo and the tests."""
