"""Used by the S3 and the Azure client: HTTP connections, responses, error translation, redaction, paged listings."""
