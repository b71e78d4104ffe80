"""What both services share: HTTP connections, error translation, redaction and paged listings."""
