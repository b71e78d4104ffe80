"""S3: reading objects, listing them, signing requests."""
