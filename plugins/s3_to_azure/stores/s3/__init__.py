"""S3: reading and listing objects, and signing requests."""
