"""HTTP connections, TLS, errors and pages that both services share."""
